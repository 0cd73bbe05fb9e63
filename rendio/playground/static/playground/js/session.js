// Who uses the page: a guest of a made-up phone, or the owner of a token from elsewhere.
import * as api from "./api.js";
import { byId, h, uuid } from "./dom.js";
import { showNotice } from "./notice.js";
import * as store from "./store.js";
import { language, named, onLanguage, t } from "./texts.js";

const KEPT = "playground.installation";
const hasSandbox = "sandbox" in document.body.dataset;

/** The app makes these once and keeps them in the Keychain. The sandbox's DeviceCheck accepts every
 * token that begins with `sandbox-`. */
function installation() {
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "null");
  if (kept) return kept;
  const made = {
    device_id: uuid(),
    device_token: btoa(`sandbox-${uuid()}`),
    installation_secret: uuid() + uuid(),
  };
  localStorage.setItem(KEPT, JSON.stringify(made));
  return made;
}

/** Sign in as the guest of this browser. Raises Refusal. */
export async function signIn() {
  const answer = await api.post("device-check", installation());
  api.keepSession({ user_id: answer.user_id, ...answer.session });
  store.set("balance", answer.credits_remaining);
}

/** Sign in with a token of another client: of a phone, for example. Raises Refusal. */
async function useToken(token) {
  store.set("session", { access_token: token });
  try {
    const profile = await api.get("get-user-profile");
    api.keepSession({ user_id: profile.id, access_token: token });
  } catch (refusal) {
    api.keepSession(null);
    throw refusal;
  }
}

async function signOut() {
  const { refresh_token } = store.get("session");
  if (refresh_token) await api.post("auth/logout", { refresh_token }).catch(() => {});
  api.keepSession(null);
}

async function beNewGuest() {
  if (store.get("session")) await signOut();
  localStorage.removeItem(KEPT);
  await signIn();
}

export async function tellLanguage() {
  if (store.get("session")) await api.post("update-user-profile", { language }).catch(() => {});
}

const sheet = byId("account-sheet");

async function openAccount() {
  showAccount(null);
  sheet.showModal();
  if (!store.get("session")) return;
  try {
    showAccount(await api.get("get-user-profile"));
  } catch (refusal) {
    showNotice(byId("account-notice"), refusal);
  }
}

function showAccount(profile) {
  const isIn = store.get("session") !== null;
  byId("account-body").replaceChildren(
    ...(isIn ? signedIn(profile) : signedOut()),
    h("div", { class: "notice", id: "account-notice", role: "alert" }),
  );
}

function signedIn(profile) {
  const facts = profile && h("dl", {},
    fact("userId", h("code", {}, profile.id)),
    fact("userKind", t(profile.is_guest ? "guest" : "member")),
    fact("tier", named("userTier", profile.tier)));
  return [
    facts ?? h("p", { class: "hint" }, t("loading")),
    hasSandbox && h("button", { type: "button", onclick: () => act(beNewGuest) }, t("newGuest")),
    h("button", { type: "button", onclick: () => act(signOut) }, t("signOut")),
  ].filter(Boolean);
}

const fact = (key, value) => [h("dt", {}, t(key)), h("dd", {}, value)];

function signedOut() {
  const field = h("textarea", { id: "token", rows: 3, spellcheck: "false", autocomplete: "off" });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); act(() => useToken(field.value.trim())); } },
    h("label", { for: "token" }, t("token")),
    h("p", { class: "hint" }, t("tokenHint")),
    field,
    h("button", { type: "submit" }, t("useToken")));
  return [
    hasSandbox && h("button", { type: "button", class: "primary", onclick: () => act(signIn) }, t("start")),
    form,
  ].filter(Boolean);
}

async function act(change) {
  try {
    await change();
    sheet.close();
  } catch (refusal) {
    showNotice(byId("account-notice"), refusal);
  }
}

byId("account").addEventListener("click", openAccount);
onLanguage(() => sheet.open && openAccount());
