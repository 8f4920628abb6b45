//! What `skep --help` says: the verbs in groups, with examples.

/// One line.
pub(super) const ABOUT: &str =
    "A Kubernetes-style control plane over plain Docker Engines, with etcd as its API";

/// The help of the whole. A test checks that no verb is missing.
pub const TEMPLATE: &str = "\
{about}

Usage: skep [OPTIONS] <COMMAND>

One machine:
  up             Run all of skep here: manager, store, and this machine's Docker Engine as a node
  down           Remove what runs there; --all: the store as well
  store serve    Run the embedded store alone: etcd's API, without the manager

Move and keep (skep store ...):
  copy           Move the cluster to another store, embedded to etcd or back; what runs goes on
  release        Serve a store again that copy has left
  export         Write what users wrote as YAML, for people and git
  import         Fill a new store with an export; what runs is adopted
  backup         Save the whole store to a file while it runs
  restore        Put a backup in the place of an embedded store, after saying what changes

Write:
  apply          Create or change objects from manifests
  diff           Show what apply would change
  validate       Check manifests; needs no store
  scale          Change the number of replicas
  delete         Delete objects

Look:
  get            List services, nodes, networks, tasks, revisions, endpoints, events
  describe       All that is known of one object
  status         One screen: managers, nodes, services, what is stuck and why
  why            What a service or task waits for, node by node
  netcheck       Try from every node what its network should reach, and name the broken hop
  events         What happened
  wait           Wait for a condition, or until something is gone

Tasks:
  logs           Output of a service's tasks
  exec           Run a command in a task's container

Fleet:
  node           add, drain, activate, pause and rm nodes
  manager        Run the controllers
  reap           List and remove containers without a record
  image load     Put this program on an engine, as the image skep:VERSION

More:
  whoami         A tiny HTTP server that says who it is: a workload to try things with
  agent          Program the network of a node: managers start it where networks are switched on
  api-resources  Kinds, short names, keys
  completion     Completion for bash, zsh or fish
  version        Print the version

Examples:
  skep up
  skep apply -f web.yaml --wait
  skep get services,tasks -o wide
  skep scale web 5
  skep why web
  skep logs -f --tail 20 web
  skep exec -it web.1 -- sh

Options:
{options}

Exit codes: 0 done, 1 refused or failed, 2 usage, 3 store or engine cannot be reached,
4 wait timed out, 5 change halted, 130 interrupted; diff: 1 differs; exec: the command's own.
";
