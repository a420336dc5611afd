package identity

import "context"

// Ready reports whether somebody could begin to sign in now. It is ErrUnavailable while the
// provider's metadata cannot be read, and costs nothing once they have been.
func (o *OIDC) Ready(ctx context.Context) error {
	_, err := o.metadata(ctx)
	return err
}
