// A job, watched until it ends: by its events, and by polls where no event comes.
import * as api from "./api.js";
import * as calls from "./calls.js";
import { readEvents } from "./events.js";
import * as store from "./store.js";

const ENDED = ["completed", "failed", "cancelled"];
// Streams in a row that brought nothing. Then the job is polled.
const MOST_EMPTY_STREAMS = 2;

export const hasEnded = (job) => ENDED.includes(job.status);

let watched = null; // {jobId, stop: AbortController}

export function stopWatching() {
  watched?.stop.abort();
  watched = null;
}

/** Calls `show` with each status of the job, until the job ends or another job is watched. */
export async function watch(jobId, show) {
  stopWatching();
  const mine = (watched = { jobId, stop: new AbortController() });
  const showMine = (status) => {
    if (watched === mine) show(status);
  };
  if (!(await byEvents(jobId, showMine, mine.stop.signal))) await byPolls(jobId, showMine, mine.stop.signal);
}

/** True if the job's last event came, or nobody watches any more. */
async function byEvents(jobId, show, signal) {
  let lastId = null;
  let retry = 1000;
  for (let empty = 0; empty < MOST_EMPTY_STREAMS && !signal.aborted; ) {
    let hadEvent = false;
    try {
      for await (const event of stream(jobId, lastId, signal)) {
        lastId = event.id ?? lastId;
        retry = event.retry ?? retry;
        if (event.type !== "status" || event.data === undefined) continue;
        hadEvent = true;
        const status = JSON.parse(event.data);
        show(status);
        if (hasEnded(status)) return true;
      }
    } catch {
      if (signal.aborted) return true;
    }
    empty = hadEvent ? 0 : empty + 1;
    await pause(Math.min(retry, 3000), signal);
  }
  return signal.aborted;
}

async function* stream(jobId, lastId, signal) {
  const url = new URL(`/v1/video-jobs/${jobId}/events`, location.origin).href;
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

async function byPolls(jobId, show, signal) {
  while (!signal.aborted) {
    let wait = 5;
    try {
      const status = await api.get("get-video-status", { job_id: jobId });
      if (signal.aborted) return;
      show(status);
      if (hasEnded(status)) return;
      wait = status.poll_after_seconds;
    } catch (refusal) {
      if ([401, 403, 404].includes(refusal.status)) return;
      wait = refusal.details?.retry_after ?? wait;
    }
    await pause(wait * 1000, signal);
  }
}

const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });
