// The jobs so far, the newest first.
import * as api from "./api.js";
import { byId, h, replace } from "./dom.js";
import * as store from "./store.js";
import { named, onLanguage, t } from "./texts.js";
import { hasEnded } from "./watch.js";

const PAGE = 12;
const AGAIN_MS = 4000;
let choose = () => {};
let timer = 0;

export const listen = (listener) => { choose = listener; };

/** The newest jobs; again soon while any of them runs beside the one on the screen. */
export async function refresh() {
  clearTimeout(timer);
  if (!store.get("session")) return;
  const known = store.get("jobs");
  const { jobs, next_cursor } = await api.get("get-jobs", { limit: PAGE });
  const older = known.filter((job) => job.created_at < (jobs.at(-1)?.created_at ?? "") && next_cursor);
  store.set("nextJobs", older.length ? store.get("nextJobs") : next_cursor);
  store.set("jobs", [...jobs, ...older]);
  const runs = jobs.some((job) => !hasEnded(job) && job.job_id !== store.get("job")?.job_id);
  if (runs) timer = setTimeout(() => refresh().catch(() => {}), AGAIN_MS);
}

/** What is new about one of the jobs. */
export function update(status) {
  store.set("jobs", store.get("jobs").map((job) => (job.job_id === status.job_id ? { ...job, ...status } : job)));
}

async function showMore() {
  const { jobs, next_cursor } = await api.get("get-jobs", { limit: PAGE, cursor: store.get("nextJobs") });
  store.set("nextJobs", next_cursor);
  store.set("jobs", [...store.get("jobs"), ...jobs]);
}

function show() {
  const jobs = store.get("jobs");
  byId("reel").hidden = jobs.length === 0;
  const more = store.get("nextJobs") &&
    h("li", {}, h("button", { type: "button", class: "frame frame-more", "data-key": "more", onclick: () => showMore().catch(() => {}) }, t("more")));
  replace(byId("reel-jobs"), ...jobs.map((job) => h("li", {}, frame(job))), more);
}

function frame(job) {
  const isShown = job.job_id === store.get("job")?.job_id;
  const words = named("status", job.status);
  return h("button", {
    type: "button", class: "frame", "data-key": job.job_id, "aria-current": String(isShown), title: job.prompt,
    "aria-label": `${job.prompt || job.model_name}, ${words}`, onclick: () => choose(job),
  }, job.thumbnail_url ? h("img", { src: job.thumbnail_url, alt: "" }) : words);
}

store.on("jobs", show);
store.on("job", show);
onLanguage(show);
