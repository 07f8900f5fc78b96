"""Many machines, one desired state.

    a door of any node (HTTP, vaurienctl, a schedule)
        │  an edit of the desired configuration, with a selector of nodes
        ▼
    desired.DesiredHub ── which entries differ ──► store: compare-and-set of each
                                                     │ watched by all nodes
                                                     ▼
    node.Node ── what of it is for this node ──► Hub.edit ──► its proxies
        └──────── report: what runs, what does not and why, hits ──► store, for as long as the node lives

`entries` are the values in the store, `store` is its port, with one in memory; `nats_store` is NATS JetStream, whose
are consensus, membership and gossip. A fault with a time to live ends in two ways, each of which is enough: the store
removes its entry, which all nodes see, and each node has its own clock for it.
"""
