// Package nodespec is what package cluster tells the first process of a node,
// nodeinit, about that node: a JSON file between two programs.
package nodespec

// Config describes one node.
type Config struct {
	Hostname string
	// PIDFile is where the id of the node's first process, as the machine
	// counts, is written once that process is there.
	PIDFile string
	// CgroupDirs are the directories that the node's first process joins.
	CgroupDirs []string
	// CgroupMounts is the cgroup tree as the node sees it.
	CgroupMounts []CgroupMount
	// Files maps files of the machine to those that stand in for them.
	Files map[string]string
	// Trees maps directories of the machine to those that stand in for them.
	Trees []Tree
	// Env is the environment of the services.
	Env      []string
	Services []Service
}

// Unified tells cgroup version 2, one tree for all controllers, from version 1.
func (c Config) Unified() bool { return len(c.CgroupMounts) == 1 && c.CgroupMounts[0].Dir == "" }

// CgroupMount is one hierarchy of cgroup version 1, or, with no Dir, the one of
// version 2.
type CgroupMount struct {
	Dir     string   // below /sys/fs/cgroup
	Options string   // mount options, e.g. "cpu,cpuacct" or "none,name=systemd"
	Links   []string // other names of the directory
}

// Tree is a directory that the node sees at Path.
type Tree struct{ Path, Source string }

// Service is a program that runs on the node, again if it ends.
type Service struct {
	Name string
	Args []string
	// After is a file whose appearance starts the service; empty starts at once.
	After string
}
