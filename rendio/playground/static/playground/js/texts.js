// The page's own texts. Messages of the API come in the same language, by Accept-Language.
import en from "../texts/en.js";
import es from "../texts/es.js";
import tr from "../texts/tr.js";

const TEXTS = { en, tr, es };
const KEPT = "playground.language";
const listeners = [];

const LANGUAGES = Object.keys(TEXTS);
export let language = "en";

/** The text, with `{name}` replaced by values. With a `count`, the plural form of the language. */
export function t(key, values = {}) {
  const texts = TEXTS[language];
  const form = "count" in values ? new Intl.PluralRules(language).select(values.count) : "";
  const text = texts[`${key}_${form}`] ?? texts[`${key}_other`] ?? texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => formatted(values[name]));
}

const formatted = (value) =>
  typeof value === "number" ? new Intl.NumberFormat(language).format(value) : String(value ?? "");

/** The text of a value of the API if the page has one, else the value. */
export const named = (prefix, value) => TEXTS[language][`${prefix}-${value}`] ?? String(value);

export const time = (iso) =>
  new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit" })
    .format(new Date(iso));

export const onLanguage = (listener) => listeners.push(listener);

export function useLanguage(code) {
  language = code;
  localStorage.setItem(KEPT, code);
  document.documentElement.lang = code;
  document.title = `Rendio · ${t("playground")}`;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = t(element.dataset.text);
  }
  for (const listener of listeners) listener();
}

export function firstLanguage() {
  const wanted = [localStorage.getItem(KEPT), ...navigator.languages.map((tag) => tag.split("-")[0])];
  return wanted.find((code) => LANGUAGES.includes(code)) ?? "en";
}
