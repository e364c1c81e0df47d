// Calls of the API. An API key that was entered goes with each; this tab alone keeps it.
import { ROOT } from "./html.js";

// The page of the API's document reads it, too.
const PLACE = "tandem-api-key";

export const API_KEY = sessionStorage.getItem(PLACE) ?? "";

// Begins anew with another key, or without one.
export function changeApiKey(key) {
  if (key) sessionStorage.setItem(PLACE, key);
  else sessionStorage.removeItem(PLACE);
  location.reload();
}

export function call(path, options = {}) {
  const headers = { ...options.headers, ...(API_KEY ? { "X-API-Key": API_KEY } : {}) };
  return fetch(ROOT + path, { ...options, headers });
}

export class Refused extends Error {
  constructor(response, message) {
    super(message);
    this.status = response.status;
    this.seconds = Number(response.headers.get("Retry-After")) || 0;
  }
}

// The answer if it is a good one; else it throws what the server says, as `Refused`.
export async function good(response) {
  if (response.ok) return response;
  const text = await response.text();
  let told = "";
  try {
    told = JSON.parse(text).error;
  } catch {
    // A proxy's own answer.
  }
  throw new Refused(response, told || `The server answered ${response.status}.`);
}
