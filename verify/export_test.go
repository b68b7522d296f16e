package verify

// JudgeHead is the judgement of a head, without a file around it.
func JudgeHead(h Head, trust *Trust, dev Device) (Manifest, Learned, error) {
	found, err := judge(h, trust, &dev)
	return found.manifest, found.learned, err
}
