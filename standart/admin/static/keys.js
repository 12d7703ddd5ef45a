// Single keys: / ? j k, and g with a letter. Off inside fields, and where they were switched off.

const KEY = "standart_keys";
const help = document.getElementById("keys");
const choice = document.querySelector("[data-keys-switch]");
let going = 0;
let before = null;

const on = () => localStorage.getItem(KEY) !== "off";

if (choice) {
  choice.checked = on();
  choice.addEventListener("change", () => localStorage.setItem(KEY, choice.checked ? "on" : "off"));
  document.querySelector("[data-help]").addEventListener("click", showHelp);
}

function showHelp() {
  document.getElementById("menu").hidePopover();
  help.showModal();
}

// With a layout of other letters the place of the key on the keyboard counts.
function letterOf(event) {
  if (/^[a-z]$/i.test(event.key)) return event.key.toLowerCase();
  return /^Key[A-Z]$/.test(event.code) ? event.code.at(-1).toLowerCase() : event.key;
}

const isSlash = (event) => event.key === "/" || (event.code === "Slash" && event.key === ".");
const isQuestion = (event) => event.key === "?" || (event.code === "Slash" && event.key === ",");

const typing = (target) => target.closest("input:not([type=checkbox]), select, textarea, dialog, [contenteditable]");

function toSearch() {
  const field = document.querySelector("[data-search]") ?? document.querySelector("main [role=search] input");
  if (!field) return false;
  before = document.activeElement;
  if (!field.checkVisibility()) document.getElementById("menu").showPopover();
  field.focus();
  field.select();
  return true;
}

// Back to where one was before the search, its field as it came.
function leaveSearch(field) {
  field.value = field.defaultValue;
  field.blur();
  if (before?.isConnected) before.focus();
}

// The chart's numbers are for reading: nothing there can be opened, and mostly they are folded.
const canBeWalked = (row) => row.checkVisibility() && !row.closest("[data-chart]");

function toRow(step) {
  const rows = [...document.querySelectorAll("main tbody tr:not(.nothing)")].filter(canBeWalked);
  if (!rows.length) return false;
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.min(Math.max(now + step, 0), rows.length - 1)];
  const target = next.querySelector("a") ?? next;
  if (target === next) next.tabIndex = -1;
  target.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

function toSection(letter) {
  const link = document.querySelector(`[data-letter="${CSS.escape(letter)}"]`);
  link?.click();
  return Boolean(link);
}

function act(event) {
  if (isQuestion(event)) return showHelp() ?? true;
  if (isSlash(event)) return toSearch();
  const letter = letterOf(event);
  if (Date.now() - going < 1500) {
    going = 0;
    return toSection(letter);
  }
  if (letter === "g") going = Date.now();
  if (letter === "j") return toRow(1);
  if (letter === "k") return toRow(-1);
  return false;
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.matches("[data-search]")) leaveSearch(event.target);
  if (!help || !on() || event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
  if (act(event)) event.preventDefault();
});
