// Makes the pages live: fetches the page again and morphs what changed, sends forms to the API, opens panels as dialogs.
// Everything here improves something that works without it. No eval, no inline handlers: the CSP forbids them.
import { Idiomorph } from "./vendor/idiomorph-0.8.0/idiomorph.esm.js";

const dialog = document.getElementById("dialog");
const messages = document.getElementById("messages");
document.documentElement.classList.add("js");

// --- times: the server writes UTC, people read "3 min ago" and their own clock ---

const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });
const clock = new Intl.DateTimeFormat(navigator.language, { timeStyle: "medium", hourCycle: "h23" });
const hour = new Intl.DateTimeFormat(navigator.language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const fullIn = new Map();
function full(moment, zone) {
  if (!fullIn.has(zone)) fullIn.set(zone, new Intl.DateTimeFormat(navigator.language, {
    weekday: "short", year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23", timeZone: zone || undefined,
  }));
  return fullIn.get(zone).format(moment);
}
let ahead = 0; // how far the server's clock is ahead of ours, so that countdowns end when the job fires

const fireIn = new Map();
function fire(moment, zone, now) {
  const key = zone + (moment.getFullYear() === new Date(now).getFullYear() ? "" : "+year");
  if (!fireIn.has(key)) fireIn.set(key, new Intl.DateTimeFormat(navigator.language, {
    weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    ...(key.endsWith("+year") ? { year: "numeric" } : {}), hourCycle: "h23", timeZone: zone || undefined,
  }));
  return fireIn.get(key).format(moment);
}

function written(style, moment, zone, now) {
  const seconds = (moment - now) / 1000;
  if (style === "full") return full(moment, zone);
  if (style === "fire") return fire(moment, zone, now);
  if (style === "hour") return hour.format(moment);
  if (style === "clock") return Math.abs(seconds) < 43200 ? clock.format(moment) : full(moment, zone);
  if (style === "elapsed") return countdown(-seconds);
  if ((style === "countdown" || style === "due") && seconds >= 0) return countdown(seconds);
  if (style === "due") return seconds > -60 ? WORDS.now : WORDS.since(ago(seconds));
  return ago(seconds);
}

function ago(seconds) {
  const size = Math.abs(seconds);
  if (size < 60) return relative.format(Math.round(seconds), "second");
  if (size < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (size < 86400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86400), "day");
}

const WORDS = document.documentElement.lang.startsWith("zh")
  ? { s: "秒", h: "小时", d: "天", now: "现在应触发", since: (ago) => `应于${ago}触发` }
  : { s: "s", h: "h", d: "d", now: "due now", since: (ago) => `due ${ago}` };
function countdown(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} ${WORDS.s}`;
  if (whole < 86400) return (whole >= 3600 ? `${Math.floor(whole / 3600)}:` : "") + `${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`;
  return `${Math.floor(whole / 86400)} ${WORDS.d} ${Math.floor((whole % 86400) / 3600)} ${WORDS.h}`;
}

function writeTimes(root = document) {
  const now = Date.now() + ahead;
  for (const element of root.querySelectorAll("time[data-when]")) {
    const moment = new Date(element.dateTime);
    const text = written(element.dataset.when, moment, element.dataset.zone, now);
    if (element.textContent !== text) element.textContent = text;
    element.title = full(moment, element.dataset.zone);
  }
}

// --- the live region ---

const seconds = Number(document.body.dataset.live || 0);
let timer = 0;
let failures = 0;

async function refresh() {
  clearTimeout(timer);
  if (!seconds) return;
  if (!document.hidden) await fetchLive();
  timer = setTimeout(refresh, 1000 * Math.min(30, seconds * 2 ** failures));
}

async function fetchLive() {
  const note = document.getElementById("live-state");
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(20000) });
    if (answer.redirected && new URL(answer.url).pathname === "/login") return location.assign(answer.url);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    keepTime(answer);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    morph(page.getElementById("live"));
    keepToken(page); // a page may stay open for longer than a token lives
    if (page.body.dataset.live === "10") clearTimeout(timer);
    failures = 0;
    note.hidden = true;
  } catch {
    failures = Math.min(failures + 1, 4);
    note.textContent = note.dataset.lost;
    note.hidden = false;
  }
}

function keepToken(page) {
  const fresh = page.querySelector("meta[name=csrf-token]");
  if (fresh) document.querySelector("meta[name=csrf-token]").content = fresh.content;
}

function keepTime(answer) {
  const served = Date.parse(answer.headers.get("Date") || "");
  // The header has whole seconds only: believe it when the clocks differ by more than that.
  if (served && Math.abs(served + 500 - Date.now()) > 2000) ahead = served + 500 - Date.now();
}

function morph(fresh) {
  const shown = document.getElementById("live");
  if (!fresh || !shown) return;
  writeTimes(fresh); // before morphing, or every time would flicker through UTC
  const followed = [...shown.querySelectorAll("[data-follow]")].filter(atEnd).map((element) => element.id);
  Idiomorph.morph(shown, fresh, { callbacks: { beforeNodeMorphed: mayMorph, beforeAttributeUpdated: mayUpdate } });
  for (const id of followed) scrollToEnd(document.getElementById(id));
}

// What a person has typed but not sent stays, and so does what they have unfolded.
function mayMorph(old) {
  return !(old.matches?.("input, textarea, select") && (old === document.activeElement || old.value !== defaultOf(old)));
}
function defaultOf(field) {
  return field.matches("select") ? [...field.options].find((option) => option.defaultSelected)?.value ?? field.options[0]?.value : field.defaultValue;
}
function mayUpdate(name, node) { return !(name === "open" && node.matches("details")); }

const atEnd = (element) => element.scrollTop + element.clientHeight >= element.scrollHeight - 8;
function scrollToEnd(element) { if (element) element.scrollTop = element.scrollHeight; }

// --- messages ---

function say(text, kind) {
  const line = document.createElement("p");
  line.className = `message ${kind}`;
  line.textContent = text;
  (dialog.open && kind === "bad" ? messageInDialog() : messages).replaceChildren(line);
  if (kind === "good") setTimeout(() => line.remove(), 6000);
}

function messageInDialog() {
  let place = dialog.querySelector(".says");
  if (!place) {
    place = document.createElement("div");
    place.className = "says";
    place.setAttribute("role", "alert");
    dialog.querySelector("form").prepend(place);
  }
  return place;
}

// --- forms to the API ---

async function send(form, button) {
  if (form.dataset.confirm && !confirm(form.dataset.confirm)) return;
  const body = new URLSearchParams(new FormData(form));
  body.delete("csrf_token");
  body.delete("next");
  for (const field of form.querySelectorAll("input[type=datetime-local]")) {
    if (field.value) body.set(field.name, new Date(field.value).toISOString()); // typed on the visitor's own clock
  }
  button?.setAttribute("disabled", "");
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body,
      signal: AbortSignal.timeout(30000), // the scheduler's socket is held while it restarts, so a request may wait
      headers: { Accept: "application/json", "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content },
    });
    const said = await answer.json();
    if (!said.success) return say(said.message, "bad");
    done(form, said);
  } catch {
    say(document.getElementById("live-state").dataset.lost, "bad");
  } finally {
    button?.removeAttribute("disabled");
  }
}

function done(form, said) {
  if (dialog.open) dialog.close();
  say(said.message, "good");
  if (said.data?.csrf_token) document.querySelector("meta[name=csrf-token]").content = said.data.csrf_token;
  if (form.dataset.then === "run") return location.assign(`/runs/${said.data.run_id}`);
  if (form.dataset.then === "secret") return showSecret(said.data.secret);
  form.reset();
  if (seconds) refresh();
  else fetchLive();
}

function showSecret(secret) {
  const place = document.getElementById("secret");
  place.querySelector("code").textContent = secret;
  place.hidden = false;
  fetchLive();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-api]") || event.submitter?.formMethod === "get") return;
  event.preventDefault();
  send(form, event.submitter);
});

// --- panels as dialogs ---

document.addEventListener("click", async (event) => {
  const close = event.target.closest?.("[data-close]");
  if (close && dialog.contains(close)) {
    event.preventDefault();
    return dialog.close();
  }
  const link = event.target.closest?.("a[data-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const panel = await partOf(link.href, "panel").catch(() => null);
  if (!panel) return location.assign(link.href);
  dialog.replaceChildren(...panel.childNodes);
  writeTimes(dialog);
  dialog.showModal();
  dialog.querySelector("input:not([type=hidden]), select, textarea")?.focus();
});

dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

async function partOf(address, id) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(id);
}

// --- the preview of an edit, and filters that need no button ---

let typing = 0;
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (form?.dataset.preview) {
    clearTimeout(typing);
    typing = setTimeout(() => preview(form), 250);
  }
});

async function preview(form) {
  const address = `${form.dataset.preview}?${new URLSearchParams({ cron_expression: form.elements.cron_expression.value })}`;
  const fresh = await partOf(address, "preview").catch(() => null);
  if (!fresh) return;
  writeTimes(fresh);
  form.querySelector("#preview").replaceWith(fresh);
}

document.addEventListener("change", (event) => {
  if (event.target.form?.matches("[data-auto]")) event.target.form.requestSubmit();
});

document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on a phone the tabs are wider than it

writeTimes();
setInterval(writeTimes, 1000);
for (const element of document.querySelectorAll("[data-follow]")) scrollToEnd(element);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
if (seconds) timer = setTimeout(refresh, seconds * 1000);
