// What htmx does not do itself. Every page works without this, and without htmx.
"use strict";

// A page that nobody sees does not ask: each question costs requests to Service Bus and storage.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.target.hasAttribute("data-poll")) event.preventDefault();
});

// Text to copy can be copied at once.
const offerCopies = () => {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.onclick = async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    };
  }
};
document.addEventListener("DOMContentLoaded", offerCopies);
document.addEventListener("htmx:afterSwap", offerCopies);

// What is not current any more must not look as if it were.
const stale = (is) => { document.getElementById("stale").hidden = !is; };
document.addEventListener("htmx:sendError", () => stale(true));
document.addEventListener("htmx:responseError", () => stale(true));
document.addEventListener("htmx:afterSwap", () => stale(false));
