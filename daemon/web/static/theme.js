// Before anything is painted: the visitor's choice of light or dark, or none, which leaves it to the system.
"use strict";
{
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
