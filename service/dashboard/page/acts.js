// What an operator can do: each act's question, and the call that it is.
const ADMIN = "v1/admin";

export function serverActs(server) {
  return [
    {
      title: "Rescan",
      question: "Look for new, changed and removed models now?",
      path: `${ADMIN}/rescan`,
    },
    server.draining
      ? {
          title: "End draining",
          question: "Report ready again, so that load balancers send clients here?",
          method: "PUT", path: `${ADMIN}/drain`, body: () => ({ draining: false }),
        }
      : {
          title: "Drain",
          question: "Report not ready, so that load balancers send clients elsewhere? "
            + "Requests that arrive nevertheless are answered.",
          method: "PUT", path: `${ADMIN}/drain`, body: () => ({ draining: true }),
        },
  ];
}

export function modelActs(name, version) {
  const model = `${ADMIN}/models/${encodeURIComponent(name)}`;
  const path = `${model}/versions/${version.version}`;
  const title = `${name} ${version.version}`;
  return [
    version.state === "END"
      ? { title: "Load", question: `Load ${title}?`, path: `${path}/load` }
      : {
          title: "Unload",
          question: `Unload ${title}? Requests under way are answered, later ones refused `
            + "with 503 until it is loaded again.",
          path: `${path}/unload`,
        },
    version.pinned
      ? {
          title: "Unpin", question: `Allow ${title} to be evicted from memory?`,
          method: "PUT", path: `${path}/pin`, body: () => ({ pinned: false }),
        }
      : {
          title: "Pin", question: `Keep ${title} in memory, whatever else is loaded?`,
          method: "PUT", path: `${path}/pin`, body: () => ({ pinned: true }),
        },
    {
      title: "Set concurrency",
      question: `How many calls may ${title} run at a time? More need more cores and memory.`,
      field: { label: "Calls at a time", start: version.concurrency ?? 1,
        type: "number", min: 1, step: 1 },
      method: "PUT", path: `${path}/concurrency`,
      body: (count) => ({ concurrency: Number(count) }),
    },
    {
      title: "Set label",
      question: `Let a label name ${title}. Clients of the label are answered by it.`,
      field: { label: "Label", start: version.labels[0] ?? "stable" },
      method: "PUT", path: `${model}/labels`,
      body: (label) => ({ [label]: version.version }),
    },
    ...(version.labels.length ? [{
      title: "Remove label",
      question: `Take a label from ${title}? Its clients get 404 until another version has it.`,
      field: { label: "Label", start: version.labels[0], choices: version.labels },
      method: "PUT", path: `${model}/labels`,
      body: (label) => ({ [label]: null }),
    }] : []),
  ];
}

// Who may see a job may cancel it: the call wants no admin token.
export const cancelJob = (job) => ({
  title: "Cancel the job",
  question: `Cancel job ${job.id} of ${job.model}? What it has done so far is lost.`,
  path: `v1/jobs/${job.id}/cancel`,
  open: true,
});
