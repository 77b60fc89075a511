/** A query that was sent: its answer page by page, one request at a time. */

import { useEffect, useRef, useState } from "react";
import { type Answer, ask } from "../api/queries";
import type { Asked } from "../model/asked";

export interface Result {
  asked: Asked;
  answer: Answer;
  /** Which page it is, from 0. */
  page: number;
  /** The place of its first row in the whole answer, from 1. */
  first: number;
}

export interface QueryRun {
  result: Result | null;
  failure: unknown;
  isBusy: boolean;
  start: (asked: Asked, pageSize: number) => void;
  turnTo: (page: number, pageSize: number) => void;
  stop: () => void;
}

/** Where each page begins: its token, and how many rows came before. */
type Starts = readonly { token: string | null; before: number }[];

const FROM_START: Starts = [{ token: null, before: 0 }];

export function rowCountOf(answer: Answer): number {
  return answer.kind === "documents" ? answer.documents.length : answer.groups.length;
}

export function useQueryRun(project: string, database: string): QueryRun {
  const [result, setResult] = useState<Result | null>(null);
  const [starts, setStarts] = useState<Starts>(FROM_START);
  const [failure, setFailure] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const control = useRef<AbortController | null>(null);
  useEffect(() => () => control.current?.abort(), []);

  async function load(asked: Asked, page: number, known: Starts, pageSize: number): Promise<void> {
    control.current?.abort();
    const mine = new AbortController();
    control.current = mine;
    setBusy(true);
    setFailure(null);
    try {
      const { token, before } = known[page] ?? { token: null, before: 0 };
      const answer = await ask(project, database, asked, pageSize, token, mine.signal);
      const next = { token: answer.nextPageToken, before: before + rowCountOf(answer) };
      setStarts(answer.nextPageToken === null ? known : [...known.slice(0, page + 1), next]);
      setResult({ asked, answer, page, first: before + 1 });
    } catch (error) {
      if (mine.signal.aborted) return;
      setFailure(error);
    }
    if (control.current === mine) setBusy(false);
  }

  return {
    result,
    failure,
    isBusy,
    start: (asked, pageSize) => void load(asked, 0, FROM_START, pageSize),
    turnTo: (page, pageSize) => {
      if (result !== null) void load(result.asked, page, starts, pageSize);
    },
    stop: () => {
      control.current?.abort();
      setBusy(false);
    },
  };
}
