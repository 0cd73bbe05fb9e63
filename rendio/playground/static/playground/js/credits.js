// The balance, the ledger as it moves, purchases and codes.
import * as api from "./api.js";
import { animate, byId, h, replace } from "./dom.js";
import { clearNotice, showGood, showNotice } from "./notice.js";
import { ask } from "./sandbox.js";
import * as store from "./store.js";
import { named, onLanguage, t, time } from "./texts.js";

const hasSandbox = "sandbox" in document.body.dataset;
const notice = byId("credits-notice");
let products = [];
let entries = [];
let known = new Set(); // entries that were shown already

export async function refresh() {
  if (!store.get("session")) return;
  const [history, credits] = await Promise.all([
    api.get("get-credit-history", { limit: 20 }), api.get("get-user-credits")]);
  entries = history.entries;
  store.set("balance", credits.credits_remaining);
  showEntries();
}

async function loadProducts() {
  if (!products.length) ({ products } = await api.get("get-products"));
  showPacks();
}

function showBalance(balance) {
  byId("balance").hidden = balance === null;
  if (balance === null) return;
  const words = t("creditCount", { count: balance });
  const [, number, unit] = /^([\d.,]+)(.*)$/.exec(words) ?? [null, words, ""];
  byId("balance-words").replaceChildren(number, h("span", { class: "balance-word" }, unit));
  byId("balance").setAttribute("aria-label", words);
  animate(byId("balance"), "has-moved");
}

function showEntries() {
  const isFirst = known.size === 0;
  byId("entries").replaceChildren(...entries.map((entry) =>
    h("tr", { class: !isFirst && !known.has(entry.id) ? "is-new" : null },
      h("td", {}, named("entry", entry.kind), h("small", {}, `${reason(entry)}${time(entry.created_at)}`)),
      h("td", { class: `number${entry.change > 0 ? " is-gain" : ""}` }, entry.change > 0 ? `+${entry.change}` : `−${-entry.change}`),
      h("td", { class: "number" }, String(entry.balance_after)))));
  known = new Set(entries.map((entry) => entry.id));
}

function reason(entry) {
  const job = store.get("jobs").find((one) => one.job_id === entry.job_id);
  const words = job ? job.model_name : entry.kind === "grant" && entry.reason && named("reason", entry.reason);
  return words ? `${words} · ` : "";
}

function showPacks() {
  replace(byId("packs"), ...products.map((product) =>
    h("li", {}, h("button", { type: "button", "data-key": product.product_id, onclick: () => buy(product) }, name(product)))));
  if (!hasSandbox) byId("packs").replaceChildren(h("li", { class: "hint" }, t("buyOnPhone")));
}

const name = (product) => (product.kind === "subscription" ? t("premium", { count: product.credits }) : t("creditCount", { count: product.credits }));

/** What StoreKit does on a phone, then what the app does: it reports the transaction. */
async function buy(product) {
  clearNotice(notice);
  try {
    const [purchase] = await ask("purchases", {
      product_id: product.product_id, kind: product.kind, user_id: store.get("session").user_id });
    const answer = await api.post("update-credits", { transaction_id: purchase.answer.transaction_id });
    showGood(notice, t("bought", { count: answer.credits_added }));
  } catch (refusal) {
    showNotice(notice, refusal);
  }
  await refresh().catch(() => {});
}

async function redeem(event) {
  event.preventDefault();
  clearNotice(notice);
  try {
    const answer = await api.post("redeem-code", { code: byId("code").value });
    byId("code").value = "";
    showGood(notice, t("redeemed", { count: answer.credits_added }));
  } catch (refusal) {
    showNotice(notice, refusal);
  }
  await refresh().catch(() => {});
}

byId("redeem").addEventListener("submit", redeem);
store.on("balance", showBalance);
store.on("session", (session) => {
  byId("credits-body").hidden = !session;
  byId("credits-empty").hidden = Boolean(session);
  clearNotice(notice);
  if (!session) {
    entries = [];
    known = new Set();
    store.set("balance", null);
    return;
  }
  loadProducts().catch(() => {});
});
onLanguage(() => {
  showBalance(store.get("balance"));
  showPacks();
  showEntries();
});
