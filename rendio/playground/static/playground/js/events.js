// Server-sent events over fetch: EventSource can send no Authorization header.
// https://html.spec.whatwg.org/multipage/server-sent-events.html

/** Yields {id, type, data, retry} of the body of a response. */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let event = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop();
      for (const line of lines) {
        if (line) addField(event, line);
        else {
          if (event.data !== undefined || event.retry !== undefined) yield event;
          event = {};
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function addField(event, line) {
  const [, name, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line);
  if (name === "data") event.data = event.data === undefined ? value ?? "" : `${event.data}\n${value ?? ""}`;
  if (name === "event") event.type = value;
  if (name === "id") event.id = value;
  if (name === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
}
