// Fetches a file and says how far it has come: the browser's own download knows no whole.
import { toast } from "./page.js";

// What has come is given to the browser in lumps, which it keeps on its disk.
const LUMP = 8 * 2 ** 20;
const QUARTER = 250;
const QUOTE = 34;
const LINE = 10;

const whole = new Intl.NumberFormat(document.documentElement.lang);
const tenths = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const nameOf = (answer) => /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition"))?.[1] ?? "";

// Counts the rows of a CSV as it comes, without those that a cell has within it.
function counter() {
  let [quoted, lines] = [false, 0];
  return (piece) => {
    for (const byte of piece) {
      if (byte === QUOTE) quoted = !quoted;
      else if (byte === LINE && !quoted) lines += 1;
    }
    return Math.max(lines - 1, 0);
  };
}

function teller(box, isText) {
  const [bar, words] = [box.querySelector("progress"), box.querySelector("output")];
  const all = Number(box.dataset.all);
  const rowsIn = counter();
  let [bytes, rows, told] = [0, 0, 0];
  bar.removeAttribute("value");
  if (isText && all) bar.max = all;
  return (piece, atOnce = false) => {
    bytes += piece.length;
    if (isText) rows = rowsIn(piece);
    if (!atOnce && performance.now() - told < QUARTER) return;
    told = performance.now();
    if (isText && all) bar.value = Math.min(rows, all);
    words.textContent = isText
      ? box.dataset.rows.replace("{rows}", whole.format(rows))
      : box.dataset.size.replace("{size}", tenths.format(bytes / 1e6));
  };
}

async function received(answer, tell) {
  const lumps = [];
  let [pieces, size] = [[], 0];
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    size += value.length;
    tell(value);
    if (size > LUMP) {
      lumps.push(new Blob(pieces));
      [pieces, size] = [[], 0];
    }
  }
  tell(new Uint8Array(), true);
  return new Blob([...lumps, ...pieces], { type: answer.headers.get("Content-Type") });
}

function hand(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  // The browser has begun to take it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function take(form, box, stop) {
  const answer = await fetch(form.action, {
    method: "POST",
    body: new URLSearchParams(new FormData(form)),
    redirect: "manual",
    signal: stop.signal,
  });
  if (!answer.ok) {
    // The login, or a page that says what is wrong.
    form.submit();
    return;
  }
  box.hidden = false;
  const isText = answer.headers.get("Content-Type").startsWith("text/csv");
  hand(await received(answer, teller(box, isText)), nameOf(answer));
  toast(box.dataset.done);
}

export function tellProgress(box) {
  let stop = null;
  box.querySelector("button").addEventListener("click", () => stop?.abort());
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!("download" in form.dataset) || event.defaultPrevented) return;
    event.preventDefault();
    // One at a time: the bar is one file's.
    if (stop) return;
    stop = new AbortController();
    try {
      await take(form, box, stop);
    } catch {
      toast(stop.signal.aborted ? box.dataset.stopped : box.dataset.failed);
    } finally {
      stop = null;
      box.hidden = true;
    }
  });
}
