// Following live: server-sent events over fetch, which can bear a token (EventSource cannot).
// Owns: one connection, what was last seen, when to try again.  Never: what events mean.

const LONGEST_WAIT_MS = 15_000;
// The gateway sends something at least every 15 s.
const SILENCE_MS = 40_000;

/** Follow until `stop` is called.
 *  hear(name, value): an event.  tell(state): "live", "lost", "refused" (with the answer's error). */
export function follow(token, hear, tell) {
  const ending = new AbortController();
  let seen = null;
  let wait = 1_000;

  async function once() {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const headers = { Accept: "text/event-stream" };
    if (token !== null) headers.Authorization = `Bearer ${token}`;
    if (seen !== null) headers["Last-Event-ID"] = seen;
    try {
      const signal = AbortSignal.any([ending.signal, silence.signal]);
      const answer = await fetch("/api/events", { headers, signal, cache: "no-store" });
      if (!answer.ok) {
        const said = await answer.json().catch(() => ({ error: answer.statusText }));
        if (answer.status === 401 || answer.status === 403) {
          tell("refused", said.error);
          return false;
        }
        throw new Error(said.error);
      }
      tell("live");
      wait = 1_000;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Error("the gateway closed the connection");
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        rest += value;
        const events = rest.split("\n\n");
        rest = events.pop();
        for (const event of events) take(event);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  function take(event) {
    const fields = {};
    for (const line of event.split("\n")) {
      const colon = line.indexOf(": ");
      if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
    }
    if (fields.data === undefined) return;
    hear(fields.event, JSON.parse(fields.data));
    seen = fields.id;
  }

  (async () => {
    while (!ending.signal.aborted) {
      try {
        if ((await once()) === false) return;
      } catch (error) {
        if (ending.signal.aborted) return;
        tell("lost", error.message);
      }
      await new Promise((resume) => setTimeout(resume, wait));
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  })();
  return () => ending.abort();
}
