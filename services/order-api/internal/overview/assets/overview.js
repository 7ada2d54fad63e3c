// Follows the sale: the live part of the page is fetched anew every second, unless somebody stands still or looks elsewhere.
// Without this script the page still shows the moment it was loaded.
'use strict';
const live = document.getElementById('live');
const pause = document.getElementById('pause');
const state = document.getElementById('state');
let following = true;

function say(text, lost) {
  state.textContent = text;
  state.classList.toggle('lost', Boolean(lost));
}

async function look() {
  try {
    const answer = await fetch('live', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(String(answer.status));
    const html = await answer.text();
    if (!following) return;
    live.innerHTML = html;
    say('Live.');
  } catch {
    if (following) say('It does not answer: what you see is old.', true);
  }
}

async function follow() {
  for (;;) {
    if (following && !document.hidden) await look();
    await new Promise((again) => { setTimeout(again, 1000); });
  }
}

pause.hidden = false;
pause.addEventListener('click', () => {
  following = !following;
  pause.setAttribute('aria-pressed', String(!following));
  pause.textContent = following ? 'Stand still' : 'Follow again';
  say(following ? 'Live.' : 'Standing still.');
});
follow();
