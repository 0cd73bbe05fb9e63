// Every call that the page made, with its answer, ready to copy as curl.
import { curl } from "./curl.js";
import { byId, copy, h } from "./dom.js";
import { onLanguage, t } from "./texts.js";

const MOST = 60;
const calls = [];

/** Note a call as it is sent. Returns it; `finish` completes it. */
export function begin({ method, url, headers = {}, body, form, isStream = false }) {
  const call = { method, url, headers, body, form, isStream, status: null, began: performance.now() };
  call.row = row(call);
  calls.unshift(call);
  byId("call-list").prepend(call.row);
  calls.splice(MOST).forEach((old) => old.row.remove());
  showLast();
  return call;
}

/** `status` 0: no answer. */
export function finish(call, { status, answer, replayed = false }) {
  call.milliseconds ??= Math.round(performance.now() - call.began);
  Object.assign(call, { status, answer, replayed });
  const isOpen = call.row.firstChild.open;
  const focus = call.row.contains(document.activeElement) && document.activeElement.dataset.key;
  const again = row(call);
  again.firstChild.open = isOpen;
  call.row.replaceWith(again);
  call.row = again;
  if (focus) again.querySelector(`[data-key="${focus}"]`)?.focus();
  showLast();
}

function path(call) {
  const url = new URL(call.url);
  return url.origin === location.origin ? url.pathname + url.search : call.url;
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function row(call) {
  const headers = Object.entries(call.headers).map(([name, value]) => `${name}: ${shortened(value)}`);
  const sent = call.form
    ? Object.entries(call.form).map(([name, value]) => `${name}=${value.name ? `@${value.name}` : value}`).join("\n")
    : call.body === undefined ? "" : pretty(call.body);
  const request = [...headers, ...(sent ? ["", sent] : [])].join("\n");
  return h("li", { class: "call" },
    h("details", {},
      h("summary", { "data-key": "line" },
        h("span", { class: "call-method" }, call.method),
        h("span", { class: "call-path" }, path(call)),
        status(call)),
      h("div", { class: "call-body" },
        request && h("div", {}, h("h3", {}, t("request")), h("pre", { tabindex: 0 }, request)),
        call.answer !== undefined && h("div", {}, h("h3", {}, t("answer")), h("pre", { tabindex: 0 }, pretty(call.answer))),
        h("div", { class: "call-acts" },
          h("button", { type: "button", class: "small", "data-key": "curl", onclick: (event) => copyCurl(call, event.currentTarget) }, t("copyCurl"))))));
}

const shortened = (value) => (value.length > 60 ? `${value.slice(0, 28)}…${value.slice(-6)}` : value);

function status(call) {
  const words = call.status === null ? "…" : call.status === 0 ? t("noAnswer") : String(call.status);
  const isRefused = call.status === 0 || call.status >= 400;
  return h("span", { class: `call-status${isRefused ? " is-refused" : ""}` }, words,
    call.milliseconds !== undefined && h("small", {}, ` ${call.milliseconds} ms`));
}

async function copyCurl(call, button) {
  await copy(curl(call));
  button.textContent = t("copied");
  setTimeout(() => { button.textContent = t("copyCurl"); }, 1500);
}

/** What somebody did, rather than what the page looked up. */
const isAct = (call) => (call.method === "POST" && !call.url.endsWith("/quote-video")) || call.isStream;
const lastAct = () => calls.find(isAct) ?? calls[0];

function showLast() {
  const last = lastAct();
  byId("last").hidden = !last;
  if (!last) return;
  byId("last-line").replaceChildren(`${last.method} ${path(last)} `, status(last));
}

byId("last-copy").addEventListener("click", (event) => copyCurl(lastAct(), event.currentTarget));
onLanguage(() => {
  for (const call of calls) finish(call, call);
});
