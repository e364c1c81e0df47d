// Figures as people read them.
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value) {
  if (value == null) return "–";
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

export function seconds(value) {
  if (value == null) return "–";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${short(value * 1000)} ms`;
  return `${short(value)} s`;
}

export function short(value) {
  if (value == null) return "–";
  if (value === 0) return "0";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return Math.abs(value) >= 100 ? value.toFixed(0) : `${Number(value.toPrecision(3))}`;
}

export function ago(epoch, now = Date.now() / 1000) {
  if (epoch == null) return "never";
  const past = Math.max(0, now - epoch);
  if (past < 5) return "now";
  if (past < 60) return `${Math.round(past)} s ago`;
  if (past < 3600) return `${Math.round(past / 60)} min ago`;
  if (past < 86400) return `${Math.round(past / 3600)} h ago`;
  return `${Math.round(past / 86400)} days ago`;
}

export const shape = (dims) =>
  dims == null ? "[…]" : `[${dims.map((each) => each ?? "?").join(", ")}]`;

// What the numbers of a decoded image go through; nothing where they stay as they are.
export function imageSteps({ size, scale, mean, std, reversed }) {
  const plain = scale === 1 && mean.every((each) => each === 0) && std.every((each) => each === 1);
  return [
    size && `resized to ${size.join(" × ")}`,
    reversed && "blue, green, red",
    !plain && `(value × ${short(scale)} − ${mean.map(short).join(" ")}) / ${std.map(short).join(" ")}`,
  ].filter(Boolean).join(", ");
}

const STATES = {
  START: "waiting",
  LOADING: "loading",
  AVAILABLE: "available",
  UNLOADING: "unloading",
  END: "unloaded",
};

export const stateOf = (version) => (version.error ? "failed" : STATES[version.state]);
