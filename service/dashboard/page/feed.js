// The server's figures, kept up to date by its events.
import { ROOT } from "./html.js";
import { useEffect, useState } from "./vendor/hooks.js";

const MOST_POINTS = 180;

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

export function useOverview() {
  const [document, setDocument] = useState(null);
  const [live, setLive] = useState(false);

  useEffect(() => {
    const events = new EventSource(`${ROOT}v1/overview/events`);
    events.onopen = () => setLive(true);
    // The browser tries again by itself.
    events.onerror = () => setLive(false);
    events.addEventListener("overview", (event) => setDocument(JSON.parse(event.data)));
    events.addEventListener("change", (event) => {
      const change = JSON.parse(event.data);
      setDocument((before) => before && apply(before, change));
    });
    return () => events.close();
  }, []);

  return { document, live };
}
