package auth

// LimitsTopics reports whether the user has any topic permission in vhost: without one, all keys are allowed and MayTopic
// need not be asked.
func (s *Session) LimitsTopics(vhost string) bool { return len(s.look(vhost).topics) > 0 }
