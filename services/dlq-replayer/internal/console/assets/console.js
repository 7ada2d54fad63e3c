// Follows what happens: the live part of a page is replaced whenever the server says that it changed, unless somebody paused
// it. Without this script every page still works; it only stands still.
'use strict';
const live = document.getElementById('live');
const pause = document.getElementById('pause');

// Where the reader was keeps the focus: the same link or button in the new part.
function swap(html) {
  const focused = live.contains(document.activeElement) ? document.activeElement : null;
  const mark = focused && (focused.getAttribute('href') || focused.id);
  const scrolls = [...live.querySelectorAll('.scroll')].map((box) => box.scrollLeft);
  live.innerHTML = html;
  live.querySelectorAll('.scroll').forEach((box, i) => { box.scrollLeft = scrolls[i] || 0; });
  if (mark) {
    [...live.querySelectorAll('a, button')].find((e) => e.getAttribute('href') === mark || e.id === mark)?.focus({ preventScroll: true });
  }
  sample();
}

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
