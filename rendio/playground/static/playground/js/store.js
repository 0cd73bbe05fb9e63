// What the page knows. Parts of the page listen to the fields that they show.

const state = {
  session: null, // {user_id, access_token, refresh_token}
  balance: null, // credits
  models: [],
  themes: [],
  job: null, // the status of the job on the screen, with its prompt and model
  jobs: [], // the newest first, as get-jobs lists them
  nextJobs: null, // the cursor of the older ones
};
const listeners = new Map();

export const get = (field) => state[field];

export function set(field, value) {
  state[field] = value;
  for (const listener of listeners.get(field) ?? []) listener(value);
}

export function on(field, listener) {
  listeners.set(field, [...(listeners.get(field) ?? []), listener]);
}
