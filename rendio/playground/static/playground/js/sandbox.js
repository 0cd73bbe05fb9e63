// The sandbox's controls. The browser asks our server, which asks the sandbox.
import { Refusal } from "./api.js";
import * as calls from "./calls.js";
import { byId } from "./dom.js";
import { clearNotice, showNotice } from "./notice.js";
import { t } from "./texts.js";

/** Raises Refusal. Returns the calls to the sandbox with their answers, which are noted. */
export async function ask(control, fields) {
  let response;
  try {
    response = await fetch(`/playground/${control}`, {
      method: "POST",
      headers: { "X-CSRFToken": document.body.dataset.csrf },
      body: new URLSearchParams(fields),
    });
  } catch {
    throw new Refusal({ status: 0, message: t("unreachable") });
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Refusal({ status: response.status, message: t("sandboxAway") });
  for (const { url, sent, status, answer: said } of answer.exchanges) {
    calls.finish(calls.begin({ method: "POST", url, body: sent }), { status, answer: said });
  }
  return answer.exchanges;
}

async function setFault(event) {
  const notice = byId("faults-notice");
  clearNotice(notice);
  try {
    await ask("faults", { fault: event.target.value });
  } catch (refusal) {
    showNotice(notice, refusal);
  }
}

byId("faults")?.addEventListener("change", setFault);
