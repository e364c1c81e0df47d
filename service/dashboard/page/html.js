// Preact's elements from templates.
import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";

export const html = htm.bind(h);

// The server's URL, whatever prefix a proxy gives it: this file is page/html.js below it.
export const ROOT = new URL("..", import.meta.url).href;

// A share of a whole, as a bar; the label is for those who can't see it.
export const Share = ({ of, most, label }) =>
  html`<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" role="img"
    aria-label=${label}><rect width=${most > 0 ? Math.min(100, (100 * Math.max(0, of)) / most) : 0}
    height="10" /></svg>`;

export const modelPage = (name) => `${ROOT}models/${encodeURIComponent(name)}`;
