// A job, watched until it ends: by its events, with a poll after each stream that brought nothing.
import * as api from "./api.js";
import * as calls from "./calls.js";
import { readEvents } from "./events.js";
import * as store from "./store.js";

const ENDED = ["completed", "failed", "cancelled"];
const LONGEST_PAUSE_MS = 3000;

export const hasEnded = (job) => ENDED.includes(job.status);

let watched = null; // {jobId, stop: AbortController}

export function stopWatching() {
  watched?.stop.abort();
  watched = null;
}

/** Calls `show` with each status of the job, until the job ends or another job is watched. */
export async function watch(jobId, show) {
  stopWatching();
  const { signal } = (watched = { jobId, stop: new AbortController() }).stop;
  let after = { hasEnded: false, lastId: null, pause: 1000 };
  while (!after.hasEnded && !signal.aborted) {
    const before = after;
    after = await byEvents(jobId, show, signal, before);
    if (!after.hasEnded && after.lastId === before.lastId) after = await byPoll(jobId, show, signal, after);
    if (!after.hasEnded) await pause(after.pause, signal);
  }
}

async function byEvents(jobId, show, signal, { lastId, pause: retry }) {
  try {
    for await (const event of stream(jobId, lastId, signal)) {
      lastId = event.id ?? lastId;
      retry = Math.min(event.retry ?? retry, LONGEST_PAUSE_MS);
      if (event.type !== "status" || event.data === undefined || signal.aborted) continue;
      const status = JSON.parse(event.data);
      show(status);
      if (hasEnded(status)) return { hasEnded: true };
    }
  } catch {
    // The stream broke; the next one goes on after the last event.
  }
  return { hasEnded: false, lastId, pause: retry };
}

async function byPoll(jobId, show, signal, { lastId }) {
  if (signal.aborted) return { hasEnded: true };
  try {
    const status = await api.get("get-video-status", { job_id: jobId });
    if (!signal.aborted) show(status);
    return { hasEnded: hasEnded(status), lastId, pause: status.poll_after_seconds * 1000 };
  } catch (refusal) {
    const isOver = [401, 403, 404].includes(refusal.status);
    return { hasEnded: isOver, lastId, pause: (refusal.details?.retry_after ?? 5) * 1000 };
  }
}

async function* stream(jobId, lastId, signal) {
  const url = new URL(`/v1/video-jobs/${jobId}/events`, document.body.dataset.events || location.origin).href;
  const headers = { ...api.sessionHeaders(), ...(lastId && { "Last-Event-ID": lastId }) };
  const noted = calls.begin({ method: "GET", url, headers, isStream: true });
  try {
    const response = await fetch(url, { headers, signal, cache: "no-store" });
    const isStream = response.status === 200 && response.headers.get("Content-Type")?.startsWith("text/event-stream");
    calls.finish(noted, { status: response.status });
    if (response.status === 401 && store.get("session")?.refresh_token) await api.refresh();
    if (!isStream) return;
    let count = 0;
    for await (const event of readEvents(response.body)) {
      count += 1;
      calls.finish(noted, { status: 200, answer: `${count} · ${event.type ?? ""}\n${event.data ?? ""}` });
      yield event;
    }
  } catch (error) {
    if (noted.status === null) calls.finish(noted, { status: 0 });
    throw error;
  }
}

const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });
