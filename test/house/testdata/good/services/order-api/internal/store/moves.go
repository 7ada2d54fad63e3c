package store

import (
	_ "gorm.io/gorm"
)

const move = `UPDATE orders SET status = $1, version = version + 1 WHERE id = $2 AND status = $3`
