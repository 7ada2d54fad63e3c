// Follows what happens: the live part of a page is replaced whenever the server says that it changed, unless somebody paused
// it. Without this script every page still works; it only stands still.
'use strict';
const live = document.getElementById('live');
const pause = document.getElementById('pause');

// Where the reader was keeps the focus: the same link or button in the new part.
function swap(html) {
  const focused = live.contains(document.activeElement) ? document.activeElement : null;
  const mark = focused && (focused.getAttribute('href') || focused.id || focused.value);
  const chosen = new Set([...live.querySelectorAll('[name=id]:checked')].map((box) => box.value));
  const why = live.querySelector('#why')?.value;
  const scrolls = [...live.querySelectorAll('.scroll')].map((box) => box.scrollLeft);
  live.innerHTML = html;
  live.querySelectorAll('.scroll').forEach((box, i) => { box.scrollLeft = scrolls[i] || 0; });
  live.querySelectorAll('[name=id]').forEach((box) => { box.checked = chosen.has(box.value); });
  if (why) live.querySelector('#why').value = why;
  if (mark) {
    [...live.querySelectorAll('a, button, input')].find((e) => e.getAttribute('href') === mark || e.id === mark || e.value === mark)?.focus({ preventScroll: true });
  }
  count();
  sample();
}

// The letters that somebody chose: how many, and all of the page at once.
function count() {
  const all = document.getElementById('all');
  if (!all) return;
  const boxes = [...document.querySelectorAll('#chosen [name=id]')];
  const chosen = boxes.filter((box) => box.checked).length;
  all.hidden = false;
  all.checked = chosen === boxes.length;
  all.indeterminate = chosen > 0 && chosen < boxes.length;
  document.getElementById('number').textContent = `(${chosen})`;
}
live?.addEventListener('change', (event) => {
  if (event.target.id === 'all') document.querySelectorAll('#chosen [name=id]').forEach((box) => { box.checked = event.target.checked; });
  count();
});
count();

// The chart of a job: letters answered for in each second, of the last two minutes.
const samples = [];
function sample() {
  const box = document.getElementById('pace');
  if (!box) return;
  samples.push({ at: Date.now(), n: Number(box.dataset.answered) });
  while (samples.length > 120) samples.shift();
  const rates = samples.slice(1).map((s, i) => Math.max(0, (s.n - samples[i].n) * 1000 / Math.max(1, s.at - samples[i].at)));
  const most = Math.max(1, ...rates);
  const points = rates.map((rate, i) => `${(i / Math.max(1, rates.length - 1)) * 100},${38 - (rate / most) * 34}`);
  document.getElementById('line')?.setAttribute('points', points.join(' '));
  const last = rates.slice(-3);
  const now = last.length ? last.reduce((a, b) => a + b, 0) / last.length : 0;
  const word = document.getElementById('rate');
  if (word) word.textContent = `${now.toFixed(0)} letters a second now, ${most.toFixed(0)} at most`;
}

let source = null;
function follow() {
  const address = new URL(location.href);
  address.searchParams.set('live', 'true');
  source = new EventSource(address);
  source.addEventListener('live', (event) => swap(event.data));
}
function still() {
  source?.close();
  source = null;
}

if (live && pause) {
  pause.hidden = false;
  sample();
  follow();
  pause.addEventListener('click', () => {
    const paused = source !== null;
    if (paused) still(); else follow();
    pause.setAttribute('aria-pressed', String(paused));
    pause.textContent = paused ? 'Follow again' : 'Stand still';
  });
}

document.querySelectorAll('form[data-sure]').forEach((form) => {
  form.addEventListener('submit', (event) => { if (!confirm(form.dataset.sure)) event.preventDefault(); });
});
