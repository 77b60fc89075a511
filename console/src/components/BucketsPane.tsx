import { Button, Menu, TextInput } from "@mantine/core";
import { IconBucket, IconDotsVertical, IconPlus, IconTrash } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { createBucket, deleteBucket } from "../api/files";
import type { Loaded } from "../api/hooks";
import { faultOfBucket } from "../model/files";
import { filesHash } from "../model/routes";
import { navigate } from "../navigation";
import { Confirm } from "./Confirm";
import { IconAction } from "./controls";
import { FormDialog } from "./FormDialog";
import { Empty, Failed, Loading, toast } from "./feedback";

export function BucketsPane({
  project,
  bucket,
  buckets,
}: {
  project: string;
  bucket: string | null;
  buckets: Loaded<string[]>;
}): ReactNode {
  const [isCreating, setCreating] = useState(false);
  const [deleting, setDeleting] = useState<string | null>(null);
  const { data, reload } = buckets;
  return (
    <section className="pane tint collections" aria-label="Buckets">
      <div className="pane-head">
        <h2 className="grow">Buckets</h2>
        <IconAction label="New bucket" onClick={() => setCreating(true)}>
          <IconPlus size={16} />
        </IconAction>
      </div>
      <div className="pane-body">
        {data === undefined && buckets.loading && <Loading label="Loading buckets" />}
        {data === undefined && !buckets.loading && (
          <Failed title="Buckets could not be loaded" error={buckets.error} onRetry={reload} />
        )}
        {data?.length === 0 && (
          <Empty
            icon={<IconBucket />}
            title="No buckets yet"
            action={<Button onClick={() => setCreating(true)}>Create a bucket</Button>}
          >
            Files live in buckets. The first one of a project is called default.
          </Empty>
        )}
        {data !== undefined && data.length > 0 && (
          <ul className="list with-acts">
            {data.map((id) => (
              <li key={id}>
                <a
                  href={filesHash(project, id)}
                  aria-current={id === bucket ? "true" : undefined}
                  title={id}
                >
                  <IconBucket aria-hidden /> <span className="truncate">{id}</span>
                </a>
                <Menu position="bottom-end">
                  <Menu.Target>
                    <IconAction label={`Actions for bucket ${id}`} size={24}>
                      <IconDotsVertical size={14} />
                    </IconAction>
                  </Menu.Target>
                  <Menu.Dropdown>
                    <Menu.Item
                      color="var(--danger)"
                      leftSection={<IconTrash size={15} />}
                      onClick={() => setDeleting(id)}
                    >
                      Delete bucket…
                    </Menu.Item>
                  </Menu.Dropdown>
                </Menu>
              </li>
            ))}
          </ul>
        )}
      </div>
      {isCreating && (
        <NewBucket
          project={project}
          isFirst={data?.length === 0}
          onMade={(made) => {
            reload();
            navigate(filesHash(project, made));
          }}
          onClose={() => setCreating(false)}
        />
      )}
      {deleting !== null && (
        <Confirm
          title="Delete this bucket?"
          action="Delete bucket"
          danger
          typed={deleting}
          onClose={() => setDeleting(null)}
          onConfirm={async () => {
            await deleteBucket(project, deleting);
            toast(`Bucket ${deleting} is deleted`);
            if (deleting === bucket) navigate(filesHash(project, null));
            reload();
          }}
        >
          <p>
            Every file in <strong>{deleting}</strong> is deleted with it. This cannot be undone.
          </p>
        </Confirm>
      )}
    </section>
  );
}

function NewBucket({
  project,
  isFirst,
  onMade,
  onClose,
}: {
  project: string;
  isFirst: boolean;
  onMade: (id: string) => void;
  onClose: () => void;
}): ReactNode {
  const [id, setId] = useState(isFirst ? "default" : "");
  const fault = id === "" ? null : faultOfBucket(id);

  return (
    <FormDialog
      title="New bucket"
      action="Create bucket"
      size="sm"
      disabled={id === "" || fault !== null}
      onSubmit={async () => {
        await createBucket(project, id);
        onMade(id);
      }}
      onClose={onClose}
    >
      <TextInput
        label="Bucket id"
        description="Who may use it is for the project's rules to say."
        value={id}
        onChange={(event) => setId(event.currentTarget.value)}
        error={fault}
        autoComplete="off"
        spellCheck={false}
        data-autofocus
      />
    </FormDialog>
  );
}
