// The server's figures, kept up to date by its events while the page can be seen.
import { Refused, call, good } from "./api.js";
import { useEffect, useState } from "./vendor/hooks.js";

const MOST_POINTS = 180;
const AGAIN_SECONDS = 3;
const LIST_SECONDS = 10;

export function apply(document, change) {
  const removed = new Set(change.removed);
  const changed = new Map(change.models.map((model) => [model.name, model]));
  const models = document.models
    .filter((model) => !removed.has(model.name))
    .map((model) => changed.get(model.name) ?? model);
  const known = new Set(models.map((model) => model.name));
  models.push(...change.models.filter((model) => !known.has(model.name)));
  models.sort((a, b) => (a.name < b.name ? -1 : 1));
  const history = change.point
    ? [...document.history, change.point].slice(-MOST_POINTS)
    : document.history;
  return { server: change.server, jobs: change.jobs, models, history };
}

// Not `EventSource`, which sends no API key.
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const whole = (text + value).split("\n\n");
    text = whole.pop();
    for (const event of whole) {
      const found = /^event: (\w+)\ndata: (.*)$/.exec(event);
      if (found) yield { name: found[1], data: JSON.parse(found[2]) };
    }
  }
}

async function follow(signal, update) {
  const response = await good(await call("v1/overview/events", { signal }));
  for await (const { name, data } of eventsOf(response)) {
    update((before) => ({
      live: true,
      document: name === "overview" ? data : before.document && apply(before.document, data),
    }));
  }
}

// A key for some models may not see the live figures of all: it has a list of its own.
async function list(signal, limits, update) {
  const { models } = await (await good(await call("v1/models", { signal }))).json();
  update(() => ({ live: false, limits, document: { models: models.map(listed) } }));
}

const listed = ({ name, versions }) => ({
  name,
  versions: versions.map((version) => ({
    ...version,
    last_used: version.last_used && Date.parse(version.last_used) / 1000,
  })),
});

const pause = (seconds, signal) => new Promise((done) => {
  setTimeout(done, seconds * 1000);
  signal.addEventListener("abort", done);
});

async function keepUp(signal, update) {
  let limits = null;
  while (!signal.aborted) {
    let seconds = limits ? LIST_SECONDS : AGAIN_SECONDS;
    try {
      await (limits ? list(signal, limits, update) : follow(signal, update));
    } catch (problem) {
      if (signal.aborted) return;
      const status = problem instanceof Refused ? problem.status : 0;
      if (status === 401) {
        update(() => ({ live: false, document: null, refusal: problem.message }));
        return;
      }
      if (status === 403) limits = problem.message;
      seconds = status === 403 ? 0 : Math.max(seconds, problem.seconds ?? 0);
    }
    if (!limits) update((before) => ({ ...before, live: false }));
    await pause(seconds, signal);
  }
}

function useVisible() {
  const [visible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const changed = () => setVisible(!document.hidden);
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  }, []);
  return visible;
}

export function useOverview() {
  const [state, setState] = useState({ live: false, document: null });
  // Browsers open six connections to a server at most: hidden tabs would hold them.
  const visible = useVisible();

  useEffect(() => {
    if (!visible) return;
    const stop = new AbortController();
    const update = (change) => {
      if (!stop.signal.aborted) setState(change);
    };
    keepUp(stop.signal, update);
    return () => stop.abort();
  }, [visible]);

  return state;
}
