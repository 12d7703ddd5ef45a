// Makes a region say what fresh markup says, and keeps every element that stays: with it stay
// the focus, a selection and the place of the page.

// A row is known by what it leads to, wherever it stands now.
const keyOf = (node) => (node.nodeName === "TR" ? node.querySelector("a.id")?.getAttribute("href") : null) ?? null;

const alike = (old, fresh) => old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);

function find(at, fresh) {
  if (keyOf(fresh) === null) return at && alike(at, fresh) ? at : null;
  while (at && !alike(at, fresh)) at = at.nextSibling;
  return at;
}

function take(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  takeChildren(old, fresh);
}

function takeChildren(old, fresh) {
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const kept = find(at, wanted);
    if (!kept) {
      old.insertBefore(wanted, at);
      continue;
    }
    at = dropUntil(at, kept).nextSibling;
    take(kept, wanted);
  }
  dropUntil(at, null);
}

function dropUntil(at, last) {
  while (at !== last) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
  return at;
}

export function renew(region, markup) {
  const fresh = document.createElement("template");
  fresh.innerHTML = markup;
  takeChildren(region, fresh.content);
}
