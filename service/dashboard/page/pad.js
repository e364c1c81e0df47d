// A pad to draw on, by a pointer or by keys, for small square inputs.
import { html } from "./html.js";
import { INTEGER, rowShape } from "./tensors.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";

const PAD = 224;
const GRID = 16;

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

const STEPS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

// The middle of a square of the grid that keys move in.
const middle = ([column, row]) => [(column + 0.5) * (PAD / GRID), (row + 0.5) * (PAD / GRID)];
const moved = ([column, row], [right, down]) =>
  [column + right, row + down].map((each) => Math.min(GRID - 1, Math.max(0, each)));

function stroke(canvas, from, to) {
  const line = pen(canvas);
  line.lineWidth = PAD / 9;
  line.lineCap = line.lineJoin = "round";
  line.strokeStyle = getComputedStyle(canvas).color;
  line.beginPath();
  line.moveTo(...from);
  line.lineTo(...to);
  line.stroke();
}

// By keys: arrows move a place, and draw while the pen is down.
function usePlace(canvas, read) {
  const [place, setPlace] = useState([GRID / 2, GRID / 2]);
  const [down, setDown] = useState(false);
  const press = (event) => {
    const step = STEPS[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    const next = step ? moved(place, step) : place;
    if (down || !step) {
      stroke(canvas.current, middle(place), middle(next));
      read();
    }
    if (!step) setDown(!down);
    setPlace(next);
  };
  return { place, down, press, lift: () => setDown(false) };
}

// By a pointer, whose button is held while it draws.
function usePointer(canvas, read) {
  const last = useRef(null);
  const place = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * PAD) / box.width,
      ((event.clientY - box.top) * PAD) / box.height,
    ];
  };
  const draw = (event) => {
    if (!last.current) return;
    const to = place(event);
    stroke(canvas.current, last.current, to);
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
  return { onPointerDown: begin, onPointerMove: draw, onPointerUp: end, onPointerCancel: end };
}

export function Pad({ tensor, onValue }) {
  const canvas = useRef(null);
  const row = rowShape(tensor.shape);
  const n = row[0];
  const described = `keys-${encodeURIComponent(tensor.name)}`;
  // Sets of small digits have 16 steps; larger ones are mostly scaled to 1.
  const [most, setMost] = useState(n <= 8 ? 16 : INTEGER.test(tensor.dtype) ? 255 : 1);
  const scaled = (value) =>
    INTEGER.test(tensor.dtype) || most > 1 ? Math.round(value * most) : Number(value.toFixed(4));
  const read = () => {
    const rows = pixels(canvas.current, n).map((line) => line.map(scaled));
    onValue({ value: row.length === 3 ? rows.map((line) => line.map((each) => [each])) : rows });
  };
  const pointer = usePointer(canvas, read);
  const keys = usePlace(canvas, read);
  const [left, top] = middle(keys.place);
  const clear = () => {
    pen(canvas.current).clearRect(0, 0, PAD, PAD);
    keys.lift();
    read();
  };
  useEffect(read, [most]);

  return html`<div class="pad">
    <div class="paper">
      <canvas ref=${canvas} width=${PAD} height=${PAD} tabindex="0" role="application"
        aria-label=${`A pad to draw on, ${n} × ${n}`} aria-describedby=${described}
        onKeyDown=${keys.press} onBlur=${keys.lift} ...${pointer}></canvas>
      <span class=${`nib ${keys.down ? "down" : ""}`} style=${{ left: `${left}px`, top: `${top}px` }}></span>
      <span class="unseen" role="status">${`Pen ${keys.down ? "down" : "up"}, column ${
        keys.place[0] + 1}, row ${keys.place[1] + 1} of ${GRID}`}</span>
    </div>
    <div>
      <p class="hint">Draw here. It is cut out and becomes ${n} × ${n} numbers.</p>
      <p class="hint" id=${described}>With keys: arrows move, space puts the pen down and
        lifts it.</p>
      <label>Ink is
        <select value=${most} onChange=${(event) => setMost(Number(event.target.value))}>
          ${[1, 16, 255].map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
        </select></label>
      <button type="button" onClick=${clear}>Clear</button>
    </div>
  </div>`;
}
