// The screen, and below it what is known about the job on it.
import * as api from "./api.js";
import { byId, h, replace, uuid } from "./dom.js";
import { showNotice } from "./notice.js";
import { remedy } from "./order.js";
import { signIn } from "./session.js";
import * as store from "./store.js";
import { named, onLanguage, t } from "./texts.js";
import { hasEnded } from "./watch.js";

const hasSandbox = "sandbox" in document.body.dataset;
const screen = byId("screen");
const caption = byId("caption");
let shownAs = ""; // what the screen shows: the same is not built again
let said = "";
let acts = { ordered() {}, changed() {}, deleted() {} };

/** `ordered(answer, job)` after a retry, `changed(job)` after a cancellation, `deleted(job)`. */
export const listen = (listeners) => { acts = listeners; };

export function show(job) {
  byId("caption").hidden = !job;
  showScreen(job);
  if (job) showCaption(job);
  say(job);
}

// --- The screen --------------------------------------------------------------------------------

function showScreen(job) {
  const isRunning = job && !hasEnded(job);
  const kind = !job ? (store.get("session") ? "idle" : "signed out") : isRunning ? "leader" : `${job.status} ${Boolean(job.video_url)}`;
  const as = `${job?.job_id ?? ""} ${kind}`;
  if (as !== shownAs) screen.replaceChildren(...(!job ? titleCard() : isRunning ? leader() : ending(job)));
  if (as !== shownAs) screen.classList.toggle("is-tall", !isRunning && isTall(job));
  shownAs = as;
  if (isRunning) moveLeader(job);
}

function titleCard() {
  const isIn = store.get("session") !== null;
  if (isIn) return [h("div", { class: "leader leader-wide" }), card(t("idle"), t("idleHint"))];
  const start = h("button", { type: "button", class: "primary", "data-key": "start", onclick: begin }, t(hasSandbox ? "start" : "signIn"));
  const title = card(t("title"), t(hasSandbox ? "titleHint" : "titleHintToken"), start);
  title.classList.remove("is-quiet");
  return [h("div", { class: "leader leader-wide" }), title];
}

async function begin() {
  if (!hasSandbox) return byId("account").click();
  try {
    await signIn();
    byId("stage-title").focus({ preventScroll: true });
  } catch (refusal) {
    showNotice(byId("order-notice"), refusal);
  }
}

const card = (title, words, ...more) =>
  h("div", { class: "title-card is-quiet" }, h("p", {}, title), words && h("p", { class: "lesser" }, words), ...more);

const leader = () => [
  h("div", { class: "leader" }),
  h("div", { class: "dial" }),
  h("div", { class: "hand" }),
  h("div", { class: "percent", role: "progressbar", "aria-label": t("progress"), "aria-valuemin": 0, "aria-valuemax": 100 }),
  h("p", { class: "below" }, h("span", {})),
];

function moveLeader(job) {
  screen.querySelector(".dial").style.setProperty("--progress", job.progress);
  const percent = screen.querySelector(".percent");
  percent.setAttribute("aria-valuenow", job.progress);
  percent.replaceChildren(String(job.progress), h("small", { "aria-hidden": "true" }, "%"));
  screen.querySelector(".below span").textContent = waiting(job);
}

function waiting(job) {
  const parts = [named("status", job.status)];
  if (job.queue_position) parts.push(t("ahead", { count: job.queue_position }));
  if (job.eta_seconds) parts.push(t("left", { low: job.eta_seconds.low, high: job.eta_seconds.high }));
  return parts.join(" · ");
}

function ending(job) {
  const label = job.ai_generated && h("p", { class: "ai-label" }, t("aiGenerated"));
  if (job.video_url) return [video(job), label].filter(Boolean);
  if (job.images?.length) return [images(job), label].filter(Boolean);
  const back = job.refunded ? t("refunded", { count: job.credits_refunded ?? job.credits_used }) : "";
  const words = [job.error?.message, back].filter(Boolean).join(" ");
  return [h("div", { class: "leader leader-wide" }), card(named("ending", job.status), words)];
}

function video(job) {
  const moves = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const player = h("video", { src: job.video_url, poster: job.thumbnail_url, controls: true, playsinline: true, loop: true, "aria-label": job.prompt || t("video") });
  player.muted = true;
  player.addEventListener("loadedmetadata", () => screen.classList.toggle("is-tall", player.videoHeight >= player.videoWidth));
  if (moves) player.play().catch(() => {});
  return player;
}

/** Whether a phone's screen is better higher than wide. A video says so once it has loaded. */
const isTall = (job) => job?.images?.length > 2 || (job?.images?.length === 1 && job.images[0].height >= job.images[0].width);

const images = (job) =>
  h("div", { class: `images images-${job.images.length}` }, job.images.map((image, index) =>
    h("a", { href: image.image_url, target: "_blank", rel: "noopener" },
      h("img", { src: image.image_url, width: image.width, height: image.height, alt: t("imageOf", { index: index + 1, prompt: job.prompt }) }))));

// --- Below it ------------------------------------------------------------------------------------

function showCaption(job) {
  const took = job.completed_at && Math.round((new Date(job.completed_at) - new Date(job.created_at)) / 1000);
  replace(caption,
    h("p", { class: "caption-prompt", title: job.prompt }, job.prompt || job.model_name),
    h("p", { class: "caption-facts" },
      h("span", { class: `state state-${job.status}` }, named("status", job.status)),
      job.prompt && h("span", {}, job.model_name),
      h("span", {}, job.refunded ? t("creditsBack", { count: job.credits_refunded ?? job.credits_used }) : t("creditCount", { count: job.credits_used })),
      took ? h("span", {}, t("took", { count: took })) : null),
    h("div", { class: "caption-acts" }, ...buttons(job)),
    h("div", { class: "notice", id: "caption-notice", role: "alert" }));
}

function buttons(job) {
  const button = (key, run) => h("button", { type: "button", class: "small", "data-key": key, onclick: () => act(run, job) }, t(key));
  if (!hasEnded(job)) return [button("cancel", cancel)];
  const file = job.video_url && h("a", { class: "button small", href: job.video_url, target: "_blank", rel: "noopener" }, t("openFile"));
  return [
    job.status === "failed" && button("retry", retry),
    file,
    job.status === "completed" && button("origin", showOrigin),
    button("remove", remove),
  ].filter(Boolean);
}

async function act(run, job) {
  try {
    await run(job);
  } catch (refusal) {
    showNotice(byId("caption-notice"), refusal, remedy(refusal));
  }
}

async function cancel(job) {
  const answer = await api.post("cancel-video-job", { job_id: job.job_id });
  if (answer.status === "processing") {
    showNotice(byId("caption-notice"), { message: t("runsOn") });
    return;
  }
  acts.changed(job);
}

async function retry(job) {
  acts.ordered({ ...(await api.post("retry-video-job", { job_id: job.job_id }, { key: uuid() })), prompt: job.prompt, model_name: job.model_name, kind: job.kind });
}

async function remove(job) {
  await api.post("delete-video-job", { job_id: job.job_id });
  acts.deleted(job);
}

async function showOrigin(job) {
  const origin = await api.get(`provenance/${job.job_id}`);
  const facts = {
    aiGenerated: t(origin.ai_generated ? "yes" : "no"),
    model: origin.model_name,
    kind: origin.kind && named("kind", origin.kind),
    provider: origin.provider,
    providerModel: origin.provider_model,
    sourceType: origin.digital_source_type,
  };
  byId("origin-facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).flatMap(([key, value]) =>
    [h("dt", {}, t(key)), h("dd", {}, value)]));
  byId("origin-sheet").showModal();
}

/** For a screen reader: each status once, and its progress by quarters. */
function say(job) {
  if (!job) return;
  const quarter = Math.floor(job.progress / 25) * 25;
  const words = hasEnded(job)
    ? [named("ending", job.status), job.error?.message].filter(Boolean).join(". ")
    : `${named("status", job.status)} ${quarter} %`;
  if (words !== said) byId("announcer").textContent = words;
  said = words;
}

onLanguage(() => {
  shownAs = "";
  show(store.get("job"));
});
