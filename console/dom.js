/** Builds elements. Text goes in as text, so that nothing that a server or a user wrote is ever markup. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Says something to everybody, screen readers included; it goes away by itself. */
let quiet;
export function say(text) {
  const status = document.getElementById('status');
  status.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    status.textContent = '';
  }, 8000);
}

/** A link from a service's configuration; anything but a web address stays text. */
export function outside(text, address) {
  return /^https?:\/\//.test(address ?? '')
    ? h('a', { href: address, rel: 'noopener noreferrer', target: '_blank' }, `${text} (new tab)`)
    : null;
}

let ids = 0;

/** A labelled input; `problem` shows under it and is read out with it. */
export function field({ label, name, hint, tag = 'input', options = [], ...attributes }) {
  const id = `field-${(ids += 1)}`;
  const note = hint ? h('p', { class: 'soft', id: `${id}-hint` }, hint) : null;
  const problem = h('p', { class: 'field-problem', id: `${id}-problem`, 'data-for': name, hidden: true });
  const input = h(
    tag,
    { id, name, 'aria-describedby': `${note ? `${id}-hint ` : ''}${id}-problem`, ...attributes },
    options.map(({ value, label: text }) => h('option', { value }, text)),
  );
  return h('div', { 'data-field': name }, h('label', { for: id }, label), input, note, problem);
}

/**
 * A form that is sent by `onSend(values)`. While it is on its way the button waits; what is wrong is shown where it is
 * wrong, all input is kept but secrets, and the first wrong field gets the focus.
 */
export function form({ fields, button, busy, onSend }) {
  const problem = h('p', { class: 'problem', role: 'alert', hidden: true });
  const submit = h('button', { type: 'submit' }, button);
  const element = h('form', { novalidate: true }, fields, problem, submit);
  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    problem.hidden = true;
    for (const note of element.querySelectorAll('.field-problem')) note.hidden = true;
    for (const input of element.elements) input.removeAttribute('aria-invalid');
    submit.disabled = true;
    submit.textContent = busy;
    try {
      await onSend(Object.fromEntries(new FormData(element)));
    } catch (thrown) {
      showProblem(element, problem, thrown);
    } finally {
      submit.disabled = false;
      submit.textContent = button;
    }
  });
  return element;
}

function showProblem(element, problem, thrown) {
  let first = null;
  for (const { pointer, message } of thrown.fields ?? []) {
    const name = pointer.split('/').at(-1);
    const note = [...element.querySelectorAll('.field-problem')].find((one) => one.dataset.for === name);
    if (!note) continue;
    note.textContent = message;
    note.hidden = false;
    const input = element.elements.namedItem(name);
    input?.setAttribute('aria-invalid', 'true');
    first ??= input;
  }
  for (const input of element.querySelectorAll('input[type=password]')) {
    if (thrown.code === 'CREDENTIAL_REJECTED' || thrown.code === 'UNAUTHENTICATED') input.value = '';
  }
  problem.textContent = thrown.message;
  problem.hidden = false;
  first?.focus();
}
