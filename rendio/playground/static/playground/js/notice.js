// What went wrong, in the words of the API, and what can be done about it.
import { h } from "./dom.js";
import { t } from "./texts.js";

/** `act` is a button: {text, run}. */
export function showNotice(place, refusal, act = null) {
  const problems = Object.values(refusal.details?.fields ?? {}).flat();
  const wait = refusal.details?.retry_after;
  place.classList.remove("is-good");
  place.replaceChildren(
    h("p", {}, [refusal.message, ...problems].join(" ")),
    ...(wait ? [h("p", {}, t("retryAfter", { count: wait }))] : []),
    ...(refusal.code ? [h("code", {}, `${refusal.status} ${refusal.code}`)] : []),
    ...(act ? [h("button", { type: "button", class: "small", onclick: act.run }, act.text)] : []),
  );
}

export function showGood(place, text) {
  place.classList.add("is-good");
  place.replaceChildren(h("p", {}, text));
}

export const clearNotice = (place) => place.replaceChildren();
