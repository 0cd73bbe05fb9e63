// The page's start, and how its parts act on each other.
import * as api from "./api.js";
import * as catalogue from "./catalogue.js";
import * as credits from "./credits.js";
import { byId } from "./dom.js";
import { showNotice } from "./notice.js";
import * as order from "./order.js";
import * as reel from "./reel.js";
import * as screen from "./screen.js";
import { tellLanguage } from "./session.js";
import * as store from "./store.js";
import { firstLanguage, t, useLanguage } from "./texts.js";
import { hasEnded, stopWatching, watch } from "./watch.js";

/** Put a job on the screen, and follow it to its end. */
async function follow(job) {
  store.set("job", job);
  if (hasEnded(job)) return stopWatching();
  return watch(job.job_id, (status) => {
    store.set("job", { ...store.get("job"), ...status });
    reel.update(status);
    if (hasEnded(status)) refresh();
  });
}

function ordered(answer) {
  follow({ progress: 0, queue_position: null, eta_seconds: null, ai_generated: true, created_at: new Date().toISOString(), ...answer });
  refresh();
  byId("stage-title").focus({ preventScroll: true });
  if (!isInView(byId("screen"))) byId("screen").scrollIntoView({ block: "start" });
}

const isInView = (element) => {
  const { top, bottom } = element.getBoundingClientRect();
  const bar = document.querySelector(".bar").offsetHeight;
  return top >= bar && bottom <= innerHeight;
};

/** The details of a job from the history: its refund and its files, with fresh addresses. */
async function choose(job) {
  store.set("job", { progress: 0, ...job });
  const status = await api.get("get-video-status", { job_id: job.job_id }).catch(() => null);
  if (status && store.get("job")?.job_id === job.job_id) await follow({ ...job, ...status });
}

async function deleted(job) {
  store.set("job", null);
  store.set("jobs", store.get("jobs").filter((one) => one.job_id !== job.job_id));
  byId("stage-title").focus({ preventScroll: true });
}

const refresh = () => reel.refresh().then(credits.refresh).catch(() => {});

function sessionChanged(session) {
  stopWatching();
  store.set("job", null);
  store.set("jobs", []);
  store.set("nextJobs", null);
  if (session) refresh().then(showNewest);
}

/** After a reload: the newest job is on the screen again. */
function showNewest() {
  const [newest] = store.get("jobs");
  if (newest && !store.get("job")) choose(newest);
}

order.listen(ordered);
screen.listen({ ordered, changed: choose, deleted });
reel.listen(choose);
store.on("job", screen.show);
let userId = null;
store.on("session", (session) => {
  // A refreshed token is no other user.
  if ((session?.user_id ?? null) === userId && session) return;
  userId = session?.user_id ?? null;
  sessionChanged(session);
});
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
byId("languages").addEventListener("change", (event) => {
  useLanguage(event.target.value);
  tellLanguage();
});

const language = firstLanguage();
document.querySelector(`[name=language][value=${language}]`).checked = true;
useLanguage(language);
api.keepSession(api.keptSession());
catalogue.load().catch((refusal) => showNotice(byId("order-notice"), refusal, { text: t("retry"), run: () => location.reload() }));
