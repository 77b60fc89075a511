/** Text that somebody else wrote, as it is shown. */

// Controls, and what turns the direction of text: an id could look like another one. What joins
// letters and emoji stays.
// oxlint-disable-next-line no-control-regex -- those are what is looked for.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** One line in which nothing is hidden: controls and marks of direction as escapes. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (character) => {
    if (character === "\n") return "↵";
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
