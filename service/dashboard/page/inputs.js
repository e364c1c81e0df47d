// The parts of the form: one for each input, by its dtype and shape.
import { html } from "./html.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

const PAD = 224;
const MOST_NUMBERS = 64;
const INTEGER = /^u?int/;

// A row's dimensions: without the first where that is open.
export const rowShape = (shape) => (shape && shape[0] === null ? shape.slice(1) : shape);

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
  return html`<${Parsed} tensor=${tensor} hint="Value as JSON" lines="6"
    first=${start === undefined ? "[]" : JSON.stringify(start)}
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

const pen = (canvas) => canvas.getContext("2d", { willReadFrequently: true });

// The drawing as n × n numbers from 0 to 1: cut out, and fitted as digits' sets have it.
export function pixels(canvas, n) {
  const { width, height } = canvas;
  const { data } = pen(canvas).getImageData(0, 0, width, height);
  const ink = (x, y) => data[(y * width + x) * 4 + 3] / 255;
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (ink(x, y) > 0.1) {
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      }
    }
  }
  const rows = Array.from({ length: n }, () => Array(n).fill(0));
  if (right < 0) return rows;

  const margin = n >= 20 ? n / 7 : 0;
  const side = Math.max(right - left, bottom - top) + 1;
  const step = side / (n - 2 * margin);
  const x0 = (left + right + 1) / 2 - (n / 2) * step;
  const y0 = (top + bottom + 1) / 2 - (n / 2) * step;
  const parts = Math.max(2, Math.ceil(step));
  for (let row = 0; row < n; row += 1) {
    for (let column = 0; column < n; column += 1) {
      let sum = 0;
      for (let i = 0; i < parts; i += 1) {
        for (let j = 0; j < parts; j += 1) {
          const x = Math.floor(x0 + (column + (i + 0.5) / parts) * step);
          const y = Math.floor(y0 + (row + (j + 0.5) / parts) * step);
          if (x >= 0 && y >= 0 && x < width && y < height) sum += ink(x, y);
        }
      }
      rows[row][column] = sum / parts ** 2;
    }
  }
  return rows;
}

function Pad({ tensor, onValue }) {
  const canvas = useRef(null);
  const row = rowShape(tensor.shape);
  const n = row[0];
  // Sets of small digits have 16 steps; larger ones are mostly scaled to 1.
  const [most, setMost] = useState(n <= 8 ? 16 : /int/.test(tensor.dtype) ? 255 : 1);
  const last = useRef(null);

  const read = () => {
    const scaled = (value) =>
      INTEGER.test(tensor.dtype) || most > 1 ? Math.round(value * most) : Number(value.toFixed(4));
    const rows = pixels(canvas.current, n).map((line) => line.map(scaled));
    onValue({ value: row.length === 3 ? rows.map((line) => line.map((each) => [each])) : rows });
  };
  const place = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * PAD) / box.width,
      ((event.clientY - box.top) * PAD) / box.height,
    ];
  };
  const draw = (event) => {
    if (!last.current) return;
    const line = pen(canvas.current);
    const to = place(event);
    line.lineWidth = PAD / 9;
    line.lineCap = line.lineJoin = "round";
    line.strokeStyle = getComputedStyle(canvas.current).color;
    line.beginPath();
    line.moveTo(...last.current);
    line.lineTo(...to);
    line.stroke();
    last.current = to;
  };
  const begin = (event) => {
    canvas.current.setPointerCapture(event.pointerId);
    last.current = place(event);
    draw(event);
  };
  const end = () => {
    if (last.current) read();
    last.current = null;
  };
  const clear = () => {
    pen(canvas.current).clearRect(0, 0, PAD, PAD);
    read();
  };
  useEffect(read, [most]);

  return html`<div class="pad">
    <canvas ref=${canvas} width=${PAD} height=${PAD} role="img"
      aria-label=${`A pad to draw on with a pointer, ${n} × ${n}. `
        + "Without one, write the numbers in the body below."}
      onPointerDown=${begin} onPointerMove=${draw} onPointerUp=${end}
      onPointerCancel=${end}></canvas>
    <div>
      <p class="hint">Draw here. It is cut out and becomes ${n} × ${n} numbers.</p>
      <label>Ink is
        <select value=${most} onChange=${(event) => setMost(Number(event.target.value))}>
          ${[1, 16, 255].map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
        </select></label>
      <button type="button" onClick=${clear}>Clear</button>
    </div>
  </div>`;
}
