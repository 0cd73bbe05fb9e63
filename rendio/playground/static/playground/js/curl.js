// A call as a command for a terminal.

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** `call` is one of calls.js. */
export function curl(call) {
  const parts = [`curl ${call.isStream ? "-sN" : "-s"} ${quote(call.url)}`];
  for (const [name, value] of Object.entries(call.headers)) {
    if (!(call.form && name === "Content-Type")) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  }
  for (const [name, value] of Object.entries(call.form ?? {})) {
    parts.push(`-F ${quote(`${name}=${value instanceof Blob ? `@${value.name}` : value}`)}`);
  }
  if (call.body !== undefined) parts.push(`-d ${quote(JSON.stringify(call.body))}`);
  return parts.join(" \\\n  ");
}
