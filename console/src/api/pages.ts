/** A page of a list of the server. */

export interface Page<T> {
  items: readonly T[];
  nextPageToken: string | null;
}
