/** Lists that the server gives by pages: the first one, then more; refreshed while it is whole. */

import { Button } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type Loaded, useLoaded, useRefresh } from "../api/hooks";
import type { Page } from "../api/pages";
import { Loadable, toastError } from "./feedback";

export interface Pages<P> extends Loaded<P> {
  /** Of what, such as `indexes`. */
  what: string;
  isMoreLoading: boolean;
  more: () => Promise<void>;
}

/** `refreshMs`: asks again so often, while no more than the first page is shown: what was loaded
 * beyond it would be gone. */
export function usePages<P extends Page<unknown>>(
  what: string,
  key: string,
  load: (pageToken: string | null) => Promise<P>,
  refreshMs: number | null = null,
): Pages<P> {
  const loaded = useLoaded(`${what} ${key}`, () => load(null));
  const [more, setMore] = useState<{ of: P; isLoading: boolean } | null>(null);
  const { data, reload, setData } = loaded;
  const isFirst = data === undefined || more?.of !== data;
  useRefresh(reload, isFirst && more?.isLoading !== true ? refreshMs : null);

  async function loadMore(): Promise<void> {
    if (data === undefined || data.nextPageToken === null) return;
    setMore({ of: data, isLoading: true });
    try {
      const next = await load(data.nextPageToken);
      const joined = { ...next, items: [...data.items, ...next.items] };
      setData(joined);
      setMore({ of: joined, isLoading: false });
    } catch (error) {
      setMore(null);
      toastError(`More ${what} could not be loaded`, error);
    }
  }

  return { ...loaded, what, isMoreLoading: more?.isLoading === true, more: loadMore };
}

/** What is shown of it: that it loads, why it does not, that there is nothing, or the items. */
export function Listing<T, P extends Page<T>>({
  pages,
  empty,
  children,
}: {
  pages: Pages<P>;
  empty: ReactNode;
  children: (page: P) => ReactNode;
}): ReactNode {
  return (
    <Loadable loaded={pages} what={pages.what}>
      {(page) => (
        <>
          {page.items.length === 0 ? empty : children(page)}
          <LoadMore pages={pages} />
        </>
      )}
    </Loadable>
  );
}

export function LoadMore<P extends Page<unknown>>({ pages }: { pages: Pages<P> }): ReactNode {
  if (pages.data === undefined || pages.data.nextPageToken === null) return null;
  return (
    <div className="row more">
      <Button variant="default" loading={pages.isMoreLoading} onClick={pages.more}>
        Load more
      </Button>
    </div>
  );
}
