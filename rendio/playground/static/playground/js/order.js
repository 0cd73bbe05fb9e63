// The order: what is asked for, its price as it changes, and its sending.
import * as api from "./api.js";
import { defaultModel, mediaOf, pickModel } from "./catalogue.js";
import { animate, byId, h, uuid } from "./dom.js";
import { clearNotice, showNotice } from "./notice.js";
import * as pictures from "./pictures.js";
import { signIn } from "./session.js";
import * as settings from "./settings.js";
import * as store from "./store.js";
import { language, onLanguage, t } from "./texts.js";

const QUOTE_AFTER_MS = 350;
const hasSandbox = "sandbox" in document.body.dataset;
const canImprove = "improve" in document.body.dataset;
const form = byId("order");
const prompt = byId("prompt");
const notice = byId("order-notice");

let model = null;
let themeId = null;
let quote = null; // of the order as it stands
let isExample = true; // the prompt is the page's, and follows the language
let isSending = false;
let isNoticeOfQuote = false; // and ends with a quote that succeeds
let onOrdered = () => {};

export const listen = (listener) => { onOrdered = listener; };

function useModel(chosen) {
  if (!chosen) return;
  model = chosen;
  form.classList.remove("is-empty");
  if (theme() && theme().model_id !== model.id) themeId = null;
  form.elements.media.value = mediaOf(model);
  settings.show(model, theme()?.default_settings ?? {});
  pictures.show(model);
  showAll();
  edited();
}

const theme = () => store.get("themes").find((one) => one.id === themeId);

function showAll() {
  const needsPrompt = model.required_fields.includes("prompt");
  byId("prompt-field").hidden = !needsPrompt;
  byId("improve-row").hidden = !needsPrompt || !canImprove;
  showModel();
  showThemes();
  showCount();
}

function showModel() {
  byId("model").replaceChildren(
    h("span", { class: "model-name" }, h("span", { class: "hidden" }, `${t("model")}: `), model.name),
    h("span", { class: "model-words" }, model.description),
    h("span", { class: "model-change" }, t("change")));
}

function showThemes() {
  const mine = store.get("themes").filter((one) => mediaOf(store.get("models").find((of) => of.id === one.model_id)) === mediaOf(model));
  byId("themes").hidden = mine.length === 0;
  const focused = document.activeElement?.dataset?.key;
  byId("theme-chips").replaceChildren(...mine.map((one) =>
    h("button", {
      type: "button", class: "chip", "data-key": one.id, title: one.description,
      "aria-pressed": String(one.id === themeId), onclick: () => toggleTheme(one),
    }, one.name)));
  if (focused) byId("theme-chips").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function toggleTheme(one) {
  themeId = themeId === one.id ? null : one.id;
  prompt.value = themeId ? one.default_prompt : t("example");
  isExample = !themeId;
  useModel(themeId ? store.get("models").find((of) => of.id === one.model_id) : model);
}

function showCount() {
  byId("prompt-count").textContent = t("promptCount", { used: prompt.value.length, most: prompt.maxLength });
}

/** The body of quote-video and generate-video. */
function body() {
  return {
    model_id: model.id,
    ...(themeId && { theme_id: themeId }),
    ...(model.required_fields.includes("prompt") && { prompt: prompt.value }),
    ...pictures.fields(model),
    settings: settings.chosen(),
  };
}

const hasPrompt = () => !model.required_fields.includes("prompt") || prompt.value.trim().length > 2;
const isComplete = () => hasPrompt() && pictures.isComplete(model);

function edited() {
  clearNotice(notice);
  changed();
}

// --- The price -------------------------------------------------------------------------------

let timer = 0;
let asked = 0;

function changed() {
  quote = null;
  asked += 1;
  clearTimeout(timer);
  showPrice();
  if (model && store.get("session") && isComplete()) timer = setTimeout(askPrice, QUOTE_AFTER_MS);
}

async function askPrice() {
  const mine = ++asked;
  try {
    const answer = await api.post("quote-video", body());
    if (mine !== asked) return;
    quote = answer;
    if (isNoticeOfQuote) clearNotice(notice);
    store.set("balance", answer.credits_remaining);
    animate(byId("price"), "is-moving");
  } catch (refusal) {
    if (mine !== asked) return;
    isNoticeOfQuote = true;
    showNotice(notice, refusal);
  }
  showPrice();
}

function showPrice() {
  if (!model) return;
  const isIn = store.get("session") !== null;
  byId("price").replaceChildren(...(quote ? quoted() : estimated(isIn)));
  const button = byId("generate");
  const canAfford = !quote || quote.affordable;
  button.textContent = !isIn ? t(hasSandbox ? "start" : "signIn") : isSending ? t("sending") : canAfford ? t("generate") : t("buyFirst");
  button.classList.toggle("primary", isIn);
  form.classList.toggle("is-ready", isIn);
  button.setAttribute("aria-disabled", String(isSending || (isIn && !isComplete())));
}

function quoted() {
  const fee = quote.cancel_fee_after_start;
  const words = quote.affordable
    ? t("leaves", { count: quote.credits_remaining - quote.credits })
    : t("lacks", { count: quote.credits - quote.credits_remaining });
  return [h("b", {}, t("creditCount", { count: quote.credits })), h("span", {}, fee ? `${words} ${t("fee", { count: fee })}` : words)];
}

function estimated(isIn) {
  const why = !isIn ? "" : !hasPrompt() ? t("needsPrompt") : pictures.isComplete(model) ? t("pricing") : t("needsPicture");
  return [h("b", {}, t("fromCredits", { count: model.min_credits })), h("span", {}, why)];
}

// --- Sending ----------------------------------------------------------------------------------

async function submit(event) {
  event.preventDefault();
  if (isSending || !model) return;
  if (!store.get("session")) return start();
  if (!isComplete()) return (hasPrompt() ? byId("pictures").querySelector("button, input") : prompt)?.focus();
  if (quote && !quote.affordable) return showBuying();
  isSending = true;
  showPrice();
  try {
    await send();
  } catch (refusal) {
    isNoticeOfQuote = false;
    showNotice(notice, refusal, remedy(refusal));
  } finally {
    isSending = false;
    changed();
  }
}

async function start() {
  if (!hasSandbox) return byId("account").click();
  try {
    await signIn();
  } catch (refusal) {
    showNotice(notice, refusal);
  }
}

async function send() {
  const operation = mediaOf(model) === "image" ? "generate/image" : "generate-video";
  const isQuoted = quote && new Date(quote.expires_at) > new Date();
  const order = { ...body(), ...(isQuoted && { quote_id: quote.quote_id }) };
  const answer = await withOneKey(operation, order);
  clearNotice(notice);
  store.set("balance", answer.credits_remaining);
  onOrdered({ ...answer, prompt: order.prompt ?? "", model_name: model.name, kind: model.kind });
}

/** The same key again while no answer came: the order is charged once, however often it is sent. */
async function withOneKey(operation, order) {
  const key = uuid();
  for (let tries = 1; ; tries += 1) {
    try {
      return await api.post(operation, order, { key });
    } catch (refusal) {
      const mayRepeat = refusal.status === 0 || refusal.code === "ERR_4011";
      if (!mayRepeat || tries === 3) throw refusal;
      await new Promise((resolve) => setTimeout(resolve, 1000 * tries));
    }
  }
}

/** The button that helps after this refusal, if one does. */
export function remedy(refusal) {
  if (refusal.status === 402) return { text: t("buyFirst"), run: showBuying };
  if (refusal.code === "ERR_4021") return { text: t("agree"), run: () => agree(refusal.details.providers) };
  return null;
}

async function agree(providers) {
  try {
    await api.post("record-consent", { kind: "ai_providers", version: "playground", granted: true, providers });
    clearNotice(notice);
    byId("generate").focus();
  } catch (refusal) {
    showNotice(notice, refusal);
  }
}

function showBuying() {
  byId("credits").scrollIntoView({ block: "start" });
  byId("packs").querySelector("button")?.focus({ preventScroll: true });
}

// --- The prompt helper ------------------------------------------------------------------------

async function improve() {
  const button = byId("improve");
  if (!store.get("session")) return start();
  button.disabled = true;
  button.textContent = t("improving");
  try {
    const answer = await api.post("improve-prompt", { prompt: prompt.value, kind: model.kind, language });
    prompt.value = answer.prompt;
    isExample = false;
    byId("improved").textContent = answer.changes.join(" ");
    showCount();
    changed();
  } catch (refusal) {
    showNotice(notice, refusal);
  } finally {
    button.disabled = false;
    button.textContent = t("improve");
    button.focus();
  }
}

form.addEventListener("submit", submit);
byId("improve").addEventListener("click", improve);
byId("model").addEventListener("click", () => pickModel(mediaOf(model), model.id, useModel));
byId("media").addEventListener("change", (event) => useModel(defaultModel(event.target.value)));
prompt.addEventListener("input", () => {
  isExample = false;
  byId("improved").textContent = "";
  showCount();
  edited();
});
prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) form.requestSubmit();
});
pictures.listen(edited);
settings.listen(edited);
store.on("models", () => useModel(model ? store.get("models").find((one) => one.id === model.id) : defaultModel("video")));
store.on("session", (session) => {
  if (!session) pictures.forget();
  if (!model) return;
  pictures.show(model);
  clearNotice(notice);
  changed();
});
store.on("balance", (balance) => {
  if (quote && balance !== quote.credits_remaining) changed();
});
onLanguage(() => {
  if (isExample) prompt.value = t("example");
  byId("improve").textContent = t("improve");
  if (!model) return;
  settings.show(model, settings.chosen());
  pictures.show(model);
  showAll();
  if (isExample) changed();
  else showPrice();
});
