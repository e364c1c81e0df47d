// A form made from the signature, the request's body, and its answer.
import { Answer } from "./answer.js";
import { call } from "./api.js";
import { imageSteps } from "./format.js";
import { html } from "./html.js";
import { Field, kindOf } from "./inputs.js";
import { useEffect, useState } from "./vendor/hooks.js";

const LONGEST_SHOWN = 200_000;

// Rows where each input has them, else whole inputs: as the server takes them.
export function bodyOf(signature, values, named) {
  const names = Object.keys(values);
  const rows = signature.inputs
    .filter((each) => names.includes(each.name))
    .every((each) => each.shape && each.shape[0] === null && !each.kind);
  const value = names.length === 1 ? values[names[0]] : values;
  const head = named ? { signature_name: signature.name } : {};
  return rows ? { ...head, instances: [value] } : { ...head, inputs: value };
}

// An input may be called like a method of every list or object.
function own(object, name) {
  return object !== null && Object.hasOwn(object, name) ? object[name] : undefined;
}

// The example's first row, by input.
function startsOf(signature) {
  const { instances, inputs } = signature.example ?? {};
  const first = instances ? instances[0] : inputs;
  const required = signature.inputs.filter((each) => each.required);
  if (first === undefined) return {};
  return required.length === 1 && own(first, required[0].name) === undefined
    ? { [required[0].name]: first }
    : first;
}

export function TryIt({ report, signature, path, onBody }) {
  const required = signature.inputs.filter((each) => each.required);
  const starts = startsOf(signature);
  const steps = report.report ? imageSteps(report.report.preprocessing) : "";
  const [values, setValues] = useState({});
  const [text, setText] = useState("");
  const [edited, setEdited] = useState(false);
  const [answer, setAnswer] = useState(null);
  const [busy, setBusy] = useState(false);
  const named = signature.name !== report.default_signature;
  const errors = Object.values(values).map((each) => each.error).filter(Boolean);
  const complete = required.every((each) => own(values, each.name)) && !errors.length;

  useEffect(() => {
    if (edited || !complete) return;
    const plain = Object.fromEntries(
      required.map((each) => [each.name, values[each.name].value]));
    const body = bodyOf(signature, plain, named);
    setText(JSON.stringify(body));
    onBody(body);
  }, [values, edited]);

  const write = (event) => {
    setEdited(true);
    setText(event.target.value);
    try {
      onBody(JSON.parse(event.target.value));
    } catch {
      // The snippets stay as they were until it is JSON.
    }
  };
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    setAnswer(await ask(path, text));
    setBusy(false);
  };

  return html`<section class="card" aria-label="Try it">
    <h2>Try it</h2>
    <form onSubmit=${send}>
      ${!edited && required.map((tensor) => html`<${Field} key=${tensor.name} tensor=${tensor}
        start=${own(starts, tensor.name)} steps=${steps}
        onValue=${(value) => setValues((before) => ({ ...before, [tensor.name]: value }))} />`)}
      <details open=${edited || required.some((each) => kindOf(each) === "json")}>
        <summary>Body</summary>
        <label>JSON that is sent
          <textarea rows="6" spellcheck="false"
            value=${text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text}
            readonly=${text.length > LONGEST_SHOWN} onInput=${write}></textarea></label>
        ${edited && html`<button type="button" onClick=${() => setEdited(false)}>
          Back to the form</button>`}
      </details>
      <p class="send"><button class="primary" disabled=${busy || !text || (!edited && !complete)}>
        ${busy ? "Asking …" : "Predict"}</button>
        ${!edited && errors.length > 0 && html`<span class="hint">${errors[0]}</span>`}</p>
    </form>
    <div role="status">
      ${answer && html`<${Answer} answer=${answer} classes=${report.report?.classes ?? []}
        outputs=${signature.outputs} />`}
    </div>
  </section>`;
}

async function ask(path, body) {
  const began = performance.now();
  try {
    const headers = { "Content-Type": "application/json", Prefer: "wait=30" };
    const response = await call(path, { method: "POST", headers, body });
    const text = await response.text();
    return {
      status: response.status,
      text,
      timing: response.headers.get("Server-Timing") ?? "",
      milliseconds: performance.now() - began,
    };
  } catch (problem) {
    return { status: 0, text: String(problem), timing: "", milliseconds: 0 };
  }
}
