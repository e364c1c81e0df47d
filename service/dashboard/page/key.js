// An API key is asked for where the server wants one.
import { API_KEY, changeApiKey } from "./api.js";
import { html } from "./html.js";
import { useState } from "./vendor/hooks.js";

// Others can't be in a header.
const PLAIN = /^[\x21-\x7e]+$/;

export function KeyForm({ told }) {
  const [key, setKey] = useState("");
  const [mistake, setMistake] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (PLAIN.test(key.trim())) changeApiKey(key.trim());
    else setMistake("A key is one word of plain letters, digits and signs.");
  };
  return html`<section class="card key" aria-labelledby="key-title">
    <h1 id="key-title">An API key is needed</h1>
    <p>This server answers nothing without one: its operator has them. The key is kept by
      this tab until it is closed, and sent to this server alone.</p>
    <form onSubmit=${submit}>
      <label>API key
        <input type="password" required autocomplete="off" value=${key}
          onInput=${(event) => setKey(event.target.value)} /></label>
      <p class="error" role="alert">${mistake || (API_KEY && told)}</p>
      <button class="primary">Use the key</button>
    </form>
  </section>`;
}
