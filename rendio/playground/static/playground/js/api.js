// Calls to the API, as the app makes them: one idempotency key for each attempt, one refresh at a
// time after a 401, and each call noted.
import * as calls from "./calls.js";
import * as store from "./store.js";
import { language, t } from "./texts.js";

/** The API refused, or did not answer (status 0). */
export class Refusal extends Error {
  constructor({ status, code = "", message, details = {}, requestId = "" }) {
    super(message);
    Object.assign(this, { status, code, details, requestId });
  }
}

const KEPT = "playground.session";

export function keepSession(session) {
  if (session) sessionStorage.setItem(KEPT, JSON.stringify(session));
  else sessionStorage.removeItem(KEPT);
  store.set("session", session);
}

export const keptSession = () => JSON.parse(sessionStorage.getItem(KEPT) ?? "null");

export const get = (operation, query = {}) => {
  const wanted = Object.entries(query).filter(([, value]) => value != null);
  const suffix = wanted.length ? `?${new URLSearchParams(wanted)}` : "";
  return call("GET", `${operation}${suffix}`);
};
export const post = (operation, body = {}, { key } = {}) => call("POST", operation, { body, key });
export const upload = (operation, form) => call("POST", operation, { form });

async function call(method, operation, { body, form, key } = {}) {
  const response = await send(method, operation, { body, form, key });
  if (response.status !== 401 || !store.get("session")?.refresh_token) return outcome(response);
  await refresh();
  return outcome(await send(method, operation, { body, form, key }));
}

async function send(method, operation, { body, form, key }) {
  const headers = sessionHeaders();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const url = new URL(`/v1/${operation}`, location.origin).href;
  const noted = calls.begin({ method, url, headers, body, form });
  const sent = form ? formData(form) : body && JSON.stringify(body);
  try {
    const response = await fetch(url, { method, headers, body: sent, cache: "no-store" });
    const answer = await response.json().catch(() => null);
    calls.finish(noted, { status: response.status, answer });
    return { status: response.status, answer };
  } catch {
    calls.finish(noted, { status: 0 });
    return { status: 0, answer: null };
  }
}

export function sessionHeaders() {
  const token = store.get("session")?.access_token;
  return { "Accept-Language": language, ...(token && { Authorization: `Bearer ${token}` }) };
}

function formData(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}

function outcome({ status, answer }) {
  if (status >= 200 && status < 300) return answer;
  const error = answer?.error;
  throw new Refusal({
    status,
    code: error?.code,
    message: error?.message ?? (status ? t("oddAnswer", { count: status }) : t("unreachable")),
    details: error?.details,
    requestId: error?.request_id,
  });
}

let refreshing = null;

/** One refresh for all calls that need one: a refresh token is good once. */
export function refresh() {
  refreshing ??= refreshOnce().finally(() => { refreshing = null; });
  return refreshing;
}

async function refreshOnce() {
  const { session } = await outcomeOrEnd(
    await send("POST", "auth/refresh", { body: { refresh_token: store.get("session").refresh_token } }),
  );
  keepSession({ ...store.get("session"), ...session });
}

/** A refused refresh token ends the session; without an answer it may still be good. */
async function outcomeOrEnd(response) {
  if (response.status >= 400 && response.status < 500 && response.status !== 429) keepSession(null);
  return outcome(response);
}
