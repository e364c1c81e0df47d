// The parts of the form: one for each input, by its dtype and shape.
import { html } from "./html.js";
import { Pad } from "./pad.js";
import { INTEGER, rowShape } from "./tensors.js";
import { useEffect, useState } from "./vendor/hooks.js";

const MOST_NUMBERS = 64;
const LONG = 100;
export function kindOf({ dtype, shape, kind }) {
  const row = rowShape(shape);
  if (kind || !row || shape[0] !== null) return "json";
  if (dtype === "string") return row.length ? "json" : "text";
  if (dtype === "bool" || /^(complex|resource)/.test(dtype)) return "json";
  const square = row[0] >= 8 && row[0] <= 64 && row[0] === row[1];
  if (square && (row.length === 2 || (row.length === 3 && row[2] === 1))) return "pad";
  if (row.length === 3 && [null, 1, 3].includes(row[2])) return "image";
  if (row.length === 0 || (row.length === 1 && row[0] <= MOST_NUMBERS)) return "numbers";
  return "json";
}

export function parseNumbers(text, { dtype, shape }) {
  const row = rowShape(shape);
  const words = text.split(/[\s,;]+/).filter(Boolean);
  const values = words.map(Number);
  const wrong = words.find((_, index) => !Number.isFinite(values[index]));
  if (wrong !== undefined) throw new Error(`"${wrong}" is not a number.`);
  const broken = values.find((value) => INTEGER.test(dtype) && !Number.isInteger(value));
  if (broken !== undefined) throw new Error(`${broken} is not a whole number.`);
  if (row.length === 0) {
    if (values.length !== 1) throw new Error(`One number is wanted, not ${values.length}.`);
    return values[0];
  }
  if (row[0] !== null && values.length !== row[0]) {
    throw new Error(`${row[0]} numbers are wanted, not ${values.length}.`);
  }
  return values;
}

export function Field({ tensor, start, steps, onValue }) {
  const kind = kindOf(tensor);
  const Part = { pad: Pad, image: Image, text: Text, numbers: Numbers, json: Json }[kind];
  return html`<fieldset>
    <legend><code>${tensor.name}</code></legend>
    <${Part} tensor=${tensor} start=${start} steps=${steps} onValue=${onValue} />
  </fieldset>`;
}

function Parsed({ tensor, first, hint, parse, onValue, lines }) {
  const [text, setText] = useState(first);
  const [error, setError] = useState("");
  useEffect(() => {
    try {
      onValue({ value: parse(text) });
      setError("");
    } catch (problem) {
      onValue({ error: `${tensor.name}: ${problem.message}` });
      setError(problem.message);
    }
  }, [text]);
  return html`<label>${hint}
    <textarea rows=${lines} value=${text} spellcheck="false" aria-invalid=${!!error}
      onInput=${(event) => setText(event.target.value)}></textarea></label>
    ${error && html`<p class="error">${error}</p>`}`;
}

function Text({ tensor, start, onValue }) {
  const first = typeof start === "string" ? start : "";
  return html`<${Parsed} tensor=${tensor} first=${first} hint="Text" lines="3"
    parse=${(text) => text} onValue=${onValue} />`;
}

function Numbers({ tensor, start, onValue }) {
  const row = rowShape(tensor.shape);
  const count = row.length ? row[0] : 1;
  const hint = count === 1 ? "A number" : `${count ?? "Some"} numbers, with commas between`;
  const first = start === undefined ? Array(count ?? 1).fill(0) : [start].flat();
  return html`<${Parsed} tensor=${tensor} first=${first.join(", ")} hint=${hint}
    lines=${count > 8 ? 3 : 1} parse=${(text) => parseNumbers(text, tensor)}
    onValue=${onValue} />`;
}

function Json({ tensor, start, onValue }) {
  const first = start === undefined ? "[]" : JSON.stringify(start);
  return html`<${Parsed} tensor=${tensor} hint="Value as JSON" first=${first}
    lines=${first.length > LONG ? 6 : 2}
    parse=${(text) => JSON.parse(text)} onValue=${onValue} />`;
}

function Image({ tensor, steps, onValue }) {
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const take = (file) => {
    if (!file) return;
    const reader = new FileReader();
    reader.onload = () => {
      setName(file.name);
      setUrl(reader.result);
      onValue({ value: { b64: reader.result.split(",")[1] } });
    };
    reader.readAsDataURL(file);
  };
  useEffect(() => onValue({ error: `${tensor.name}: choose an image first.` }), []);
  return html`<div class="drop" onDragOver=${(event) => event.preventDefault()}
      onDrop=${(event) => {
        event.preventDefault();
        take(event.dataTransfer.files[0]);
      }}>
    <label>An image: choose a file, or drop one here
      <input type="file" accept="image/*" onChange=${(event) => take(event.target.files[0])} />
    </label>
    ${url && html`<img src=${url} alt=${name} />`}
    <p class="hint">The server decodes it, and resizes it where the model wants a
      size${steps && `; then: ${steps}`}.</p>
  </div>`;
}
