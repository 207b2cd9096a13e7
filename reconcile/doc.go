// Package reconcile holds no code: it is the map of the packages below it, and
// its test holds their import rules.
//
//	          core: pure, no clock, no network, no root                 |  shell: touches the world
//	git --source--> Tree --schema--> Documents --model--> Fleet          |
//	(shell)         fs.FS+commit      with positions      resolved, valid |
//	                                                       | alloc + lock |
//	                                                       v              |
//	                                 gurus, elements --> Intent           |      host
//	                                 (plugins)       fragments per target |        | drivers observe
//	                                                       |              |        v
//	                                                       v              |    Observed (the same types)
//	                                                    plan.Diff <-------+--------+
//	                                                       |              |
//	                              people <-- text, JSON -- Plan ----------+--> engine: apply steps --> observe again
//	                              policies -- veto -->     |              |                             |
//	                                                       +-- empty? <---+-----------------------------+ verify
//	                                                                      |--> status (what, since when, why not)
//
// Seven sentences:
//
//  1. A commit is a value; every stage up to the host is a function from value
//     to value.
//  2. Who decides (gurus, elements, policies: pure) does not act; who acts (drivers) does
//     not decide.
//  3. Between them lies one small vocabulary of resource kinds, the narrow waist.
//  4. Observed has the type of desired: one diff; verify is the same diff being
//     empty, rollback a diff to the last good intent.
//  5. A driver has no memory: what is ours is marked on the host, with its owner,
//     so a fresh process recognises it.
//  6. Every resource knows the document lines that asked for it.
//  7. The result depends on the tree and the host's facts only, never on history;
//     allocated numbers are a file in the tree.
//
// Glossary. Tree: the files of one commit. Document: one YAML document of it.
// Fleet: what the documents mean together (model.Site and its networks). Unit: a
// guest network with all that belongs to it, compiled as one. Segment: a broadcast
// domain of a network; Subnet: addresses in one. Fragment: what one
// owner asks of one host. Intent: all fragments of a host, and the holds: owners
// left as they are. Policy: what must be true of objects or of a plan beyond being
// valid; Finding: what does not meet one. Set: entries by ID. Entry: a state, its owner and origin.
// Observed: what drivers see of us. Plan: actions for people, steps for drivers.
// Trial: an apply that goes back unless somebody confirms it. Snapshot: what a host
// observed, published for others to plan against. Status: what runs, since when, why
// not. Verbs: Parse, Compile, Allocate,
// Observe, Diff, Do, Verify.
package reconcile
