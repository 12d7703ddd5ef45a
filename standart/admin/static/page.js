// Small helps on every page: the time zone, forms, copying, ages, the theme, ticking rows.

// The server shows times and days in this zone from the next page on.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `standart_zone=${zone}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
}

// Those of the page itself are in the zone that its person has chosen, where the browser knows it.
function known(name) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return name;
  } catch {
    return undefined;
  }
}
export const shownZone = known(document.body.dataset.zone);

export const tellTime = (at, language, parts) =>
  at.toLocaleString(language, { ...parts, hourCycle: "h23", timeZone: shownZone });

// What answers a form cannot be loaded again without sending the form anew, and may show what is
// shown once: its place in the browser's history is taken by the page that it belongs to.
// Where it does not say so, that is the page that the form was on.
const asker = new URL(document.referrer || location.href);
const formerPage =
  "answer" in document.body.dataset && asker.origin === location.origin ? asker.href : undefined;
const belongsTo = document.querySelector("[data-belongs]")?.dataset.belongs ?? formerPage;
if (belongsTo) history.replaceState(null, "", belongsTo);

// A second click must not send a form again while the first one is on its way.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) {
    event.preventDefault();
    return;
  }
  if (event.target.method !== "post") return;
  const form = event.target;
  form.dataset.sent = "yes";
  // A file leaves the page where it is, and so does an answer that was not waited for.
  setTimeout(() => delete form.dataset.sent, "download" in form.dataset ? 1_000 : 30_000);
});
// The page may come back from the browser's history as it was left.
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

export function toast(words) {
  const region = document.getElementById("toasts");
  const line = document.createElement("p");
  line.textContent = words;
  region.replaceChildren(line);
  setTimeout(() => line.remove(), 4000);
}

// Without https, or where it is forbidden, there is no clipboard but what was selected.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = Object.assign(document.createElement("textarea"), { value: text, className: "hidden" });
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

// Listened for on the document: what is swapped in later works like the rest.
document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    toast(await copied(copy.dataset.copy) ? copy.dataset.done : copy.dataset.failed);
    copy.focus();
  }
  event.target.closest("[data-close]")?.closest(".flash").remove();
});

// Messages that stood in the page from its start are read out only when they come anew.
const flashes = document.querySelector(".flashes");
if (flashes?.children.length) {
  const kept = [...flashes.children];
  flashes.replaceChildren();
  requestAnimationFrame(() => flashes.append(...kept));
}

// The theme changes without losing what is typed into other forms.
document.querySelector("[data-theme-form]")?.addEventListener("submit", async (event) => {
  if (!event.submitter) return;
  event.preventDefault();
  const form = event.target;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  try {
    await fetch(form.action, { method: "POST", body, redirect: "manual" });
    document.documentElement.dataset.theme = event.submitter.value;
    for (const button of form.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button === event.submitter));
    }
  } finally {
    delete form.dataset.sent;
  }
});

// How long ago something was goes on while the page stands.
const MINUTE = 60_000;
const STEPS = [["minute", 1], ["hour", 60], ["day", 1440], ["week", 10_080], ["month", 43_200], ["year", 525_600]];
const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { style: "short" });

export function tellAges(root = document) {
  for (const age of root.querySelectorAll(".when .ago")) {
    const at = Date.parse(age.parentElement.querySelector("time").dateTime);
    const minutes = Math.trunc((at - Date.now()) / MINUTE);
    const step = STEPS.findLast(([, length]) => Math.abs(minutes) >= length);
    const said = step ? words.format(Math.trunc(minutes / step[1]), step[0]) : "";
    if (age.textContent !== said) age.textContent = said;
  }
}
tellAges();
setInterval(() => { if (!document.hidden) tellAges(); }, 30_000);

// One box ticks all rows of the page; a number beside it says how many are ticked.
document.addEventListener("change", (event) => {
  const box = event.target;
  const all = document.querySelector(`[data-all="${CSS.escape(box.dataset?.all ?? box.name ?? "")}"]`);
  if (!all) return;
  const rows = [...document.querySelectorAll(`input[name="${CSS.escape(all.dataset.all)}"]`)];
  if (box === all) for (const row of rows) row.checked = all.checked;
  const ticked = rows.filter((row) => row.checked).length;
  all.checked = ticked > 0 && ticked === rows.length;
  all.indeterminate = ticked > 0 && ticked < rows.length;
  for (const count of document.querySelectorAll(`[data-count="${CSS.escape(all.dataset.all)}"]`)) {
    count.textContent = String(ticked);
  }
});
