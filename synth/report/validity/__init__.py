"""Is every case what a BraTS case is?"""
